//! [`ValidateLayer`].

use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::json::MAX_VALUES;
use super::schema::JsonSchema;
use super::service::Validate;

/// Lets only bodies that match a schema through to the services it wraps.
///
/// See the [module's page](super). Cloning is a few reference counts.
#[derive(Clone, Debug)]
pub struct ValidateLayer {
    rules: Arc<BodyRules>,
}

/// What a body is held to.
#[derive(Clone, Debug)]
pub(super) struct BodyRules {
    pub(super) schema: JsonSchema,
    pub(super) limits: JsonLimits,
}

impl ValidateLayer {
    /// Checks bodies by `schema`, within the default [`JsonLimits`].
    pub fn new(schema: JsonSchema) -> Self {
        Self { rules: Arc::new(BodyRules { schema, limits: JsonLimits::default() }) }
    }

    /// Replaces the bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: JsonLimits) -> Self {
        Arc::make_mut(&mut self.rules).limits = limits;
        self
    }
}

impl<S> Layer<S> for ValidateLayer {
    type Service = Validate<S>;

    fn layer(&self, inner: S) -> Validate<S> {
        Validate::new(inner, Arc::clone(&self.rules))
    }
}

/// The bounds of a body of JSON.
///
/// ```
/// use std::time::Duration;
///
/// use chatkit_rest::validate::JsonLimits;
///
/// let limits = JsonLimits::default().with_max_body_bytes(4096).with_body_timeout(Duration::from_secs(2));
/// assert_eq!(limits.max_body_bytes, 4096);
/// assert_eq!(limits.max_json_values, 10_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonLimits {
    /// The largest body, in bytes. A larger one is 413.
    pub max_body_bytes: usize,
    /// The most JSON values of a body, every key counted as one. More are 413, and never become a
    /// tree, which is many times the size of what it is made of.
    pub max_json_values: usize,
    /// The longest wait for the whole of a body that doesn't come with its head. Then it is 408.
    pub body_timeout: Duration,
}

impl Default for JsonLimits {
    /// Allows 1 MiB, 10 000 values, 15 seconds.
    fn default() -> Self {
        Self {
            max_body_bytes: 1_048_576,
            max_json_values: MAX_VALUES,
            body_timeout: Duration::from_secs(15),
        }
    }
}

impl JsonLimits {
    /// Sets the most bytes.
    #[must_use]
    pub fn with_max_body_bytes(self, max_body_bytes: usize) -> Self {
        Self { max_body_bytes, ..self }
    }

    /// Sets the most JSON values.
    #[must_use]
    pub fn with_max_json_values(self, max_json_values: usize) -> Self {
        Self { max_json_values, ..self }
    }

    /// Sets the longest wait.
    #[must_use]
    pub fn with_body_timeout(self, body_timeout: Duration) -> Self {
        Self { body_timeout, ..self }
    }
}
