//! The commands: one file each, a function of the arguments that prints and returns how it ended.

mod check;
mod clears;
mod controller;
mod enroll;
mod export;
mod gateway;
mod mark;
mod plan;
mod simulate;
mod state;
mod status;
mod up;
mod validate;
mod why;
mod why_all;
mod why_text;
mod windows;
mod words;

pub(crate) use check::check;
pub(crate) use controller::controller;
pub(crate) use enroll::{
    EnrollError, GATEWAY_ADDRESS, GATEWAY_CA, GATEWAY_CONFIG_MAP, TokenWish, enroll, new_token, random_name,
};
pub(crate) use export::export;
pub(crate) use gateway::gateway;
pub(crate) use mark::{resolve, retry};
pub(crate) use plan::plan;
pub(crate) use simulate::simulate;
pub(crate) use state::state_export;
pub(crate) use status::{short, source_error, status};
pub(crate) use up::up;
pub(crate) use validate::validate;
pub(crate) use why::why;
pub(crate) use windows::windows;
pub(crate) use words::word;
