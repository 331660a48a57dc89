//! The gateway from the outside: started from TOML text through the real path, asked by a browser, watched by an upstream.
