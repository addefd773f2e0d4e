//! (being written)
use super::{
    Options,
    exchange::{Answer, Arrived, Reply},
};
use http::StatusCode;
#[derive(Debug)]
pub(super) struct Gateway;
impl Gateway {
    pub fn new(_options: &Options) -> Self {
        Self
    }
    pub fn reply(&self, arrived: &Arrived) -> Reply {
        Reply::only(self.refusal(StatusCode::SERVICE_UNAVAILABLE, arrived))
    }
    pub fn refusal(&self, status: StatusCode, _arrived: &Arrived) -> Answer {
        Answer::new(status, "")
    }
}
