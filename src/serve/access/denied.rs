//! Why a request is refused, and why herdsman does not listen.

use hyper::StatusCode;

use crate::owner::settings::serve::Listen;

/// What `WWW-Authenticate` says with a 401: the first for browsers, which then ask for
/// a name and a password, and the password is the key.
const CHALLENGES: [&str; 2] = ["Basic realm=\"herdsman\", charset=\"UTF-8\"", "Bearer realm=\"herdsman\""];

/// Why a request may not do what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A key is needed here.
    #[error("this address needs a key: send `Authorization: Bearer KEY`")]
    NoKey,
    /// Only this machine may use it: there are no keys, or not any more.
    #[error(
        "this herdsman has no keys, so it answers only requests from its own machine that no proxy forwards; add \
         `[[serve.keys]]` to its settings, or set `open = true` in `[serve]`"
    )]
    Keyless,
    /// It is none of the keys, or not any more.
    #[error("the key is not valid; use one that `[[serve.keys]]` in the settings names")]
    WrongKey,
    /// The key may use models, and not change what runs or look behind it.
    #[error("the key {0:?} may not do this; it needs `admin = true`")]
    NotAdmin(String),
    /// The name in the URL is not one of ours: a page may have made it point here.
    #[error("{0:?} is not a name of this herdsman; add it to `hosts` in `[serve]`, or send a key")]
    ForeignHost(String),
    /// A page of another site asks.
    #[error("pages of {0} may not do this; to let them use /v1, add it to `cors_origins` in `[serve]`")]
    ForeignOrigin(String),
}

impl Denied {
    /// The status to answer with.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NoKey | Self::WrongKey => StatusCode::UNAUTHORIZED,
            Self::Keyless | Self::NotAdmin(_) | Self::ForeignHost(_) | Self::ForeignOrigin(_) => StatusCode::FORBIDDEN,
        }
    }

    /// The values of `WWW-Authenticate` to answer with.
    #[must_use]
    pub const fn challenges(&self) -> &'static [&'static str] {
        match self {
            Self::NoKey | Self::WrongKey => &CHALLENGES,
            Self::Keyless | Self::NotAdmin(_) | Self::ForeignHost(_) | Self::ForeignOrigin(_) => &[],
        }
    }
}

/// Anybody could use the models.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "refusing to listen on {0}: everybody who reaches this address could use its models; add `[[serve.keys]]` to the \
     settings, listen on 127.0.0.1 instead, or set `open = true` in `[serve]`"
)]
pub struct Open(pub Listen);
