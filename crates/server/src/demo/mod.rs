//! The programs behind the server's pages.

pub mod chat;
