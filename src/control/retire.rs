//! Retiring a source: Segment is not contacted for it any more.

use super::{FlipError, Switchboard, standing::Retiring, switchboard::find, switchboard::whole};
use crate::{
    model::SourceId,
    routing::{Author, Change, Deed},
};

impl Switchboard {
    /// Retires a source, or takes that back: durable, and in force for every request that begins later, when it returns. A retired
    /// source's events go to RudderStack alone, whatever its route and rules say, and the kill switch does not send them to Segment.
    /// None: it stood so already.
    ///
    /// # Errors
    /// When there is no such source, RudderStack cannot have its events, or it is not durable.
    pub async fn retire(
        &self,
        source: SourceId,
        retiring: Retiring,
        by: Author,
        reason: Option<String>,
    ) -> Result<Option<Change>, FlipError> {
        let inner = std::sync::Arc::clone(&self.inner);
        whole(async move {
            let _turn = inner.turn.lock().await;
            let configured = inner.configured();
            let found = find(&configured, &source)?;
            if inner.history().retired(&source).is_some() == (retiring == Retiring::Retire) {
                return Ok(None);
            }
            let deed = match retiring {
                Retiring::Retire => {
                    inner.check_rudderstack(found)?;
                    Deed::Retire(source)
                }
                Retiring::Unretire => Deed::Unretire(source),
            };
            let change = Change { revision: inner.next_revision(), at: inner.clock.now(), by, deed, reason, undoes: None };
            inner.keep(change.clone()).await?;
            Ok(Some(change))
        })
        .await
    }
}
