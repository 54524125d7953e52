//! Values are found under every encoding, and only their bytes are replaced.

