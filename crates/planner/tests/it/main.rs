//! The planner's golden stories: a small world in words, and what is decided about each of its machines.

#![allow(clippy::unwrap_used, reason = "a story that cannot be read fails where it stands")]

mod again;
mod awaited;
mod baselines;
mod budgets;
mod cancels;
mod forecast;
mod guards;
mod history;
mod kernels;
mod overrides;
mod removals;
mod rollouts;
mod safety;
mod scale;
mod show;
mod story;
mod transactions;
mod upgrades;
mod waves;
mod words;
mod world;

pub(crate) use story::{check, check_over_time};
