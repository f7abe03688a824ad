//! The HTTP server: bound to its address, and what its requests share.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::net::TcpListener;

use super::connection;
use super::limits::{HttpLimits, Places};
use super::routes::Routes;
use crate::executor::Executor;

/// A server that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is in use.
    #[error("{0} is in use by another program\n  hint: stop it, or choose another port with `--listen`")]
    InUse(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Io(SocketAddr, std::io::Error),
}

/// The server (lifetime: the process).
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) executor: Arc<Executor>,
    pub(super) limits: HttpLimits,
    pub(super) places: Places,
    routes: RwLock<Arc<Routes>>,
}

impl Shared {
    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Server {
    /// Binds the address. Requests wait until [`Self::serve`].
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        executor: Arc<Executor>,
        routes: Routes,
        limits: HttpLimits,
    ) -> Result<Self, ServeError> {
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => ServeError::InUse(address),
            _ => ServeError::Io(address, error),
        })?;
        let address = listener.local_addr().map_err(|error| ServeError::Io(address, error))?;
        let (places, routes) = (Places::new(&limits), RwLock::new(Arc::new(routes)));
        Ok(Self { listener, address, shared: Arc::new(Shared { executor, limits, places, routes }) })
    }

    /// The address, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle for replacing the routes when an app is deployed anew.
    pub fn replace_routes(&self) -> impl Fn(Routes) + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move |routes| *shared.routes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes)
    }

    /// Serves until `stop`, then finishes the requests that have begun.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) {
        connection::serve(self.listener, self.shared.limits, self.shared, stop).await;
    }
}
