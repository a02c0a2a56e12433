//! Attributes of a span, one by one; what is not known is left out.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

/// Attributes under construction.
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    pub(super) fn text(&mut self, key: &str, text: impl Into<String>) {
        self.put(key, Value::StringValue(text.into()));
    }

    pub(super) fn some_text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.text(key, text);
        }
    }

    pub(super) fn number(&mut self, key: &str, number: impl Into<i64>) {
        self.put(key, Value::IntValue(number.into()));
    }

    pub(super) fn some_number(&mut self, key: &str, number: Option<impl Into<i64>>) {
        if let Some(number) = number {
            self.number(key, number);
        }
    }

    pub(super) fn whole(&mut self, key: &str, number: u64) {
        self.number(key, i64::try_from(number).unwrap_or(i64::MAX));
    }

    pub(super) fn seconds(&mut self, key: &str, duration: Duration) {
        self.put(key, Value::DoubleValue(duration.as_secs_f64()));
    }

    pub(super) fn done(self) -> Vec<KeyValue> {
        self.0
    }

    fn put(&mut self, key: &str, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.to_owned(), value, key_strindex: 0 });
    }
}
