//! `/healthz`, `/livez`, `/readyz`: whoever gets an answer is served, since the store is open as long as the process
//! lives. A cluster has more checks; the one that every server has is `ping`.

/// What a health path says; none where there is no such check.
pub(crate) fn text(path: &str, verbose: bool) -> Option<String> {
    let path = path.strip_prefix('/')?;
    let (door, check) = path.split_once('/').unwrap_or((path, ""));
    match check {
        _ if !["healthz", "livez", "readyz"].contains(&door) => None,
        "" if verbose => Some(format!("[+]ping ok\n{door} check passed\n")),
        "" | "ping" => Some("ok".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_how_it_is_is_told_as_by_a_cluster() {
        for (path, verbose, expected) in [
            ("/readyz", false, Some("ok")),
            ("/readyz", true, Some("[+]ping ok\nreadyz check passed\n")),
            ("/livez/ping", false, Some("ok")),
            ("/healthz/nonsense", false, None),
            ("/healthzz", false, None),
        ] {
            assert_eq!(text(path, verbose).as_deref(), expected, "{path}");
        }
    }
}
