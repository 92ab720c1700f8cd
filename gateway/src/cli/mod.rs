//! The command line.

#[cfg(test)]
pub(crate) mod pages;
