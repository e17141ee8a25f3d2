//! Simulated worlds. So far: fake machines ([`machines`]) that go through the real protocol.

pub mod machines;
