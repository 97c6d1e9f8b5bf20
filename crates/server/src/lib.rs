//! The stand-alone Switchboard server.
