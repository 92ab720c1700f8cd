//! Claims about policies.
