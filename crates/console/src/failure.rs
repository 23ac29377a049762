//! What goes wrong, as a page: what happened, why as far as the viewer may know, and what to do now.

use actix_web::http::StatusCode;

/// A page that cannot be shown, or a change that was refused.
#[derive(Debug)]
pub(crate) struct Failure {
    pub status: StatusCode,
    /// What the domain said, in English; shown where it helps.
    pub detail: String,
    pub retry_after_seconds: Option<u64>,
}

impl Failure {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after_seconds: None }
    }

    /// Does not exist, or is not for this viewer: one answer.
    pub fn hidden() -> Self {
        Self::new(StatusCode::NOT_FOUND, "")
    }

    /// The page needs somebody who is signed in.
    pub fn sign_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "")
    }

    /// The viewer may see the thing and may not do this with it.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "")
    }

    /// The form was not made by this console for this session.
    pub fn stale_form() -> Self {
        Self::new(StatusCode::FORBIDDEN, "stale form")
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "")
    }

    fn throttled(detail: String, seconds: u64) -> Self {
        Self { retry_after_seconds: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// The cause is for the log alone.
    pub fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = cause, "a page failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "")
    }

    fn unavailable(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error = cause, "a page cannot be shown now");
        Self { retry_after_seconds: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "") }
    }

    fn storage(cause: &(dyn std::error::Error + 'static), unavailable: bool) -> Self {
        if unavailable { Self::unavailable(cause) } else { Self::internal(cause) }
    }

    /// Whether the viewer can mend it in the form that was sent.
    pub fn is_about_input(&self) -> bool {
        matches!(
            self.status,
            StatusCode::BAD_REQUEST
                | StatusCode::CONFLICT
                | StatusCode::UNPROCESSABLE_ENTITY
                | StatusCode::PRECONDITION_FAILED
                | StatusCode::TOO_MANY_REQUESTS
        ) || (self.status == StatusCode::FORBIDDEN && !self.detail.is_empty() && self.detail != "stale form")
    }
}

impl From<tenancy::Error> for Failure {
    fn from(err: tenancy::Error) -> Self {
        use tenancy::Error;
        let text = || err.to_string();
        match &err {
            Error::Unauthenticated => Self::sign_in(),
            Error::Hidden
            | Error::ProjectUnknown(_)
            | Error::ProjectGone
            | Error::QuotaUnknown(_)
            | Error::RequestUnknown(_)
            | Error::MetadataUnknown(_)
            | Error::MemberUnknown(_)
            | Error::RobotUnknown(_) => Self::hidden(),
            Error::UserUnknown(_) => Self::bad_request(text()),
            Error::CreationRestricted
            | Error::SettingFixed(_)
            | Error::LimitReached(_)
            | Error::QuotaExceeded { .. }
            | Error::ReadOnly
            | Error::Escalation => Self::new(StatusCode::FORBIDDEN, text()),
            Error::RequestDecided(_)
            | Error::RequestPending(_)
            | Error::NameTaken(_)
            | Error::MetadataExists(_)
            | Error::MemberExists(_)
            | Error::RobotExists(_) => Self::new(StatusCode::CONFLICT, text()),
            Error::Invalid(_) | Error::BadQuery(_) => Self::bad_request(text()),
            Error::NotAvailable(_) | Error::NotEmpty => Self::new(StatusCode::PRECONDITION_FAILED, text()),
            Error::TooManyCreations { retry_after_seconds } => Self::throttled(text(), *retry_after_seconds),
            Error::Identity(_) => match err {
                Error::Identity(cause) => cause.into(),
                other => Self::internal(&other),
            },
            Error::Storage(cause) => Self::storage(&err, cause.is_unavailable()),
        }
    }
}

impl From<identity::Error> for Failure {
    fn from(err: identity::Error) -> Self {
        use identity::Error;
        let text = || err.to_string();
        match &err {
            Error::BadCredentials | Error::Disabled | Error::Unauthenticated => Self::sign_in(),
            Error::Throttled { retry_after_seconds } => Self::throttled(text(), *retry_after_seconds),
            Error::Busy => Self::throttled(text(), 1),
            Error::Forbidden => Self::forbidden(),
            Error::OldPasswordWrong | Error::FirstAdministrator => Self::new(StatusCode::FORBIDDEN, text()),
            Error::UserUnknown(_)
            | Error::RobotUnknown(_)
            | Error::TokenUnknown(_)
            | Error::GroupUnknown(_)
            | Error::KeyUnknown(_) => Self::hidden(),
            Error::Invalid(_) | Error::BadQuery(_) => Self::bad_request(text()),
            Error::Taken(_) | Error::LastAdministrator | Error::OwnAccount => {
                Self::new(StatusCode::CONFLICT, text())
            }
            Error::NoSigningKey | Error::Unavailable(_) => Self::unavailable(&err),
            Error::Infrastructure(_) => Self::internal(&err),
        }
    }
}

impl From<catalog::Error> for Failure {
    fn from(err: catalog::Error) -> Self {
        use catalog::Error;
        let text = || err.to_string();
        match err {
            Error::Tenancy(inner) => inner.into(),
            Error::ManifestUnknown(_)
            | Error::TagUnknown(_)
            | Error::RepositoryUnknown(_)
            | Error::BlobUnknown(_)
            | Error::UploadUnknown(_)
            | Error::Unknown(_) => Self::hidden(),
            Error::Gone(_) => Self::new(StatusCode::GONE, text()),
            Error::Conflict(_) => Self::new(StatusCode::CONFLICT, text()),
            Error::Limit(_) => Self::new(StatusCode::FORBIDDEN, text()),
            Error::TagImmutable { .. }
            | Error::NameRefused(_)
            | Error::ManifestInIndex { .. }
            | Error::BlobInUse(_)
            | Error::Refused(_)
            | Error::UploadsOverQuota { .. } => Self::new(StatusCode::PRECONDITION_FAILED, text()),
            Error::Invalid(_) | Error::BadQuery(_) => Self::bad_request(text()),
            Error::Storage(ref cause) => Self::storage(&err, cause.is_unavailable()),
            other => Self::internal(&other),
        }
    }
}

impl From<askama::Error> for Failure {
    fn from(err: askama::Error) -> Self {
        Self::internal(&err)
    }
}
