//! What a store charges for a recovery. Pure.

use super::model::Amount;

/// Bytes of the unit that stores charge by.
const GB: f64 = 1e9;

/// What a target charges.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// For each GB that leaves it.
    pub per_gb_out: f64,
    /// For a thousand requests that read.
    pub per_thousand_requests: f64,
    /// In what.
    pub currency: String,
}

impl Prices {
    /// The price of so much, as it is shown: `1.94 USD`.
    pub fn shown(&self, amount: Amount) -> String {
        format!("{:.2} {}", self.of(amount), self.currency)
    }

    /// The price of so much.
    pub fn of(&self, amount: Amount) -> f64 {
        amount.bytes as f64 / GB * self.per_gb_out + amount.requests as f64 / 1e3 * self.per_thousand_requests
    }
}
