//! From a flow record to who called.
