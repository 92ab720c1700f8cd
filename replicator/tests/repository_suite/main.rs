//! The repository, seen from outside: one program of tests, so that it is linked once.

mod damage;
mod index;
mod lease;
mod objects;
mod support;
