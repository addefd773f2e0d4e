//! The network of a simulation, in the place of TCP. Only in test builds.

use std::{cell::RefCell, future::Future, io, pin::Pin};

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection that is no socket.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

/// A connection in the making.
pub(crate) type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Pipe>>> + Send>>;

type Dialler = Box<dyn Fn(&str) -> Dialling>;

thread_local! {
    static DIALLER: RefCell<Option<Dialler>> = const { RefCell::new(None) };
}

/// While it lives, every upstream of this thread is reached by its dialler, which is told the host's name.
#[derive(Debug)]
pub(crate) struct Simulated(());

impl Simulated {
    pub(crate) fn begin(dialler: impl Fn(&str) -> Dialling + 'static) -> Self {
        DIALLER.with_borrow_mut(|known| *known = Some(Box::new(dialler)));
        Self(())
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        DIALLER.with_borrow_mut(|known| *known = None);
    }
}

/// None when nothing is simulated here.
pub(super) fn dial(host: &str) -> Option<Dialling> {
    DIALLER.with_borrow(|known| known.as_ref().map(|dialler| dialler(host)))
}
