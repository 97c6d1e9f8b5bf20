//! What the server shows on its pages.

pub mod chat;
