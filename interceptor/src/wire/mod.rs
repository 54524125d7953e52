//! Providers' protocols: where is the text, and what does an error look like?
