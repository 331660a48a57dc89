//! Reads the forms of our own pages: small, URL-encoded, each field once (X16).

use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use zeroize::Zeroizing;

use crate::gateway::respond::Failure;
use crate::web::body::InboundBody;

/// Largest accepted form body in bytes.
pub const MAX_FORM: usize = 16 * 1024;

/// A form's fields.
pub struct Form(Vec<(String, Zeroizing<String>)>);

/// Why a form was refused. Every one is a 4xx without a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The content type is not `application/x-www-form-urlencoded`.
    #[error("the content type is not that of a form")]
    ContentType,
    /// More than [`MAX_FORM`] bytes.
    #[error("the form is larger than 16 KiB")]
    TooLarge,
    /// The body could not be read to its end.
    #[error("the body could not be read")]
    Unreadable,
    /// A field stands twice.
    #[error("a field stands twice")]
    Duplicate,
}

impl FormError {
    /// What the client is told.
    pub fn failure(self) -> Failure {
        let (status, code) = match self {
            Self::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "form_type"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "form_size"),
            Self::Unreadable | Self::Duplicate => (StatusCode::BAD_REQUEST, "form"),
        };
        Failure::new(status, code, "The form could not be read.")
    }
}

impl Form {
    /// Reads the body of `request`.
    ///
    /// # Errors
    /// See [`FormError`].
    pub async fn read(request: Request<InboundBody>) -> Result<Self, FormError> {
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(FormError::ContentType);
        }
        let collected = Limited::new(request.into_body(), MAX_FORM).collect().await;
        let bytes = collected.map_err(|error| {
            if error.is::<LengthLimitError>() { FormError::TooLarge } else { FormError::Unreadable }
        })?;
        Self::parse(&bytes.to_bytes())
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(FormError::Duplicate);
            }
            fields.push((name.into_owned(), Zeroizing::new(value.into_owned())));
        }
        Ok(Self(fields))
    }

    /// The value of `name`; empty when it is absent.
    pub fn field(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Takes the value of `name` out, for a secret that should have one owner.
    pub fn take(&mut self, name: &str) -> String {
        self.0
            .iter_mut()
            .find(|(known, _)| known == name)
            .map(|(_, value)| std::mem::take(&mut **value))
            .unwrap_or_default()
    }
}

/// The value of `name` in a query string; `None` when absent, an error when repeated.
///
/// # Errors
/// [`FormError::Duplicate`].
pub fn query_field(query: Option<&str>, name: &str) -> Result<Option<String>, FormError> {
    let mut values =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(FormError::Duplicate),
        (first, None) => Ok(first.map(|(_, value)| value.into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_absent_ones_are_empty() {
        let mut form = Form::parse(b"username=ad%61&password=a+b%26&x").unwrap();
        assert_eq!((form.field("username"), form.field("x"), form.field("y")), ("ada", "", ""));
        assert_eq!(form.take("password"), "a b&");
        assert_eq!(form.field("password"), "");
    }

    #[test]
    fn a_field_that_stands_twice_is_refused() {
        assert!(matches!(Form::parse(b"username=a&username=b"), Err(FormError::Duplicate)));
        assert_eq!(query_field(Some("a=1&a=2"), "a"), Err(FormError::Duplicate));
        assert_eq!(query_field(Some("a=1&b=2"), "a"), Ok(Some("1".into())));
        assert_eq!(query_field(None, "a"), Ok(None));
    }
}
