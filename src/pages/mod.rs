//! Layer 2: view structs to HTML. Imports `base`, `web`.
