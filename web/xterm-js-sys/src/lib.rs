//! Raw bindings to xterm.js.
