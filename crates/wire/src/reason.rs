//! Why a gateway refuses a request: a closed set, so that an agent can act on it.

/// The reasons of an [`ErrorBody`](crate::ErrorBody).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The body, path or method is not one of the protocol's.
    BadRequest,
    /// The body is larger than it may be.
    TooLarge,
    /// There is no certificate, or none of this fleet's.
    NotEnrolled,
    /// The certificate expired: renew it, nothing else is answered.
    CertificateExpired,
    /// The machine was revoked or its FleetMachine deleted: enrol anew, if that is wanted.
    Revoked,
    /// Two machines use this identity: delete the FleetMachine and enrol both anew.
    DuplicateIdentity,
    /// The enrolment token is unknown, expired or used up.
    TokenRefused,
    /// The activity, inventory or session named is not this machine's.
    NotYours,
    /// The session is over: report anew with session 0 (rule M4).
    StaleSession,
    /// Too many requests at once: try again later.
    Busy,
    /// The gateway cannot reach the Kubernetes API: try again later.
    Unavailable,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::BadRequest,
        Self::TooLarge,
        Self::NotEnrolled,
        Self::CertificateExpired,
        Self::Revoked,
        Self::DuplicateIdentity,
        Self::TokenRefused,
        Self::NotYours,
        Self::StaleSession,
        Self::Busy,
        Self::Unavailable,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::TooLarge => "TooLarge",
            Self::NotEnrolled => "NotEnrolled",
            Self::CertificateExpired => "CertificateExpired",
            Self::Revoked => "Revoked",
            Self::DuplicateIdentity => "DuplicateIdentity",
            Self::TokenRefused => "TokenRefused",
            Self::NotYours => "NotYours",
            Self::StaleSession => "StaleSession",
            Self::Busy => "Busy",
            Self::Unavailable => "Unavailable",
        }
    }

    /// The reason of that name; `None` for one that a newer gateway has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> http::StatusCode {
        match self {
            Self::BadRequest => http::StatusCode::BAD_REQUEST,
            Self::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotEnrolled | Self::CertificateExpired => http::StatusCode::UNAUTHORIZED,
            Self::Revoked | Self::DuplicateIdentity | Self::TokenRefused | Self::NotYours => {
                http::StatusCode::FORBIDDEN
            }
            Self::StaleSession => http::StatusCode::CONFLICT,
            Self::Busy => http::StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether the same request may be answered otherwise later.
    #[must_use]
    pub fn is_transient(self) -> bool {
        match self {
            Self::Busy | Self::Unavailable => true,
            Self::BadRequest
            | Self::TooLarge
            | Self::NotEnrolled
            | Self::CertificateExpired
            | Self::Revoked
            | Self::DuplicateIdentity
            | Self::TokenRefused
            | Self::NotYours
            | Self::StaleSession => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_back_and_an_unknown_one_is_none() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
            assert!(reason.status().is_client_error() || reason.status().is_server_error());
        }
        assert_eq!(Reason::parse("FromTheFuture"), None);
    }
}
