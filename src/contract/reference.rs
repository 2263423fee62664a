//! Where a `Location` leads.

/// Gives the path, with its query, that `reference` leads to from a request for `base`, whose
/// scheme and authority it is taken to have (RFC 3986 section 5.2).
pub(super) fn resolve(base: &str, reference: &str) -> String {
    let reference = reference.split('#').next().unwrap_or_default();
    let base = base.split(['?', '#']).next().unwrap_or_default();
    // An absolute one, or one with an authority.
    let place = match reference.split_once("//") {
        Some((scheme, place)) if scheme.is_empty() || scheme.ends_with(':') => {
            place.find(['/', '?']).map_or("/", |path| &place[path..])
        }
        _ => reference,
    };
    let (path, query) = place.split_at(place.find('?').unwrap_or(place.len()));
    let merged = match path {
        "" => base.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{}{path}", &base[..base.rfind('/').map_or(0, |slash| slash + 1)]),
    };
    format!("{}{query}", without_dots(&merged))
}

/// Removes dot segments (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.trim_start_matches('/').split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_as_rfc_3986_section_5_4_has_it() {
        for (reference, target) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("//g", "/"),
            ("http://a/b/c", "/b/c"),
            ("?y", "/b/c/d;p?y"),
            ("g?y#s", "/b/c/g?y"),
            ("g;x=1/../y", "/b/c/y"),
            ("", "/b/c/d;p"),
            (".", "/b/c/"),
            ("..", "/b/"),
            ("../g", "/b/g"),
            ("../../../g", "/g"),
            ("g?y/../x", "/b/c/g?y/../x"),
        ] {
            assert_eq!(resolve("/b/c/d;p?q", reference), target, "{reference}");
        }
        assert_eq!(resolve("/api/sessions", "sessions/1"), "/api/sessions/1");
        assert_eq!(resolve("/sessions", "/api/sessions/1"), "/api/sessions/1");
    }
}
