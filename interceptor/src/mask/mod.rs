//! Finds sensitive values and replaces them.
