//! The Prometheus text format 0.0.4, made of OpenMetrics text: the same samples under other type names.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::collections::HashMap;

/// A family's type in OpenMetrics gives its name and type in the text format, in which a family has its samples' name.
fn family(name: &str, kind: &str) -> (String, &'static str) {
    match kind {
        "counter" => (format!("{name}_total"), "counter"),
        "info" => (format!("{name}_info"), "gauge"),
        "gauge" => (name.to_owned(), "gauge"),
        "histogram" => (name.to_owned(), "histogram"),
        _ => (name.to_owned(), "untyped"),
    }
}

/// `openmetrics` in the text format.
pub(super) fn of_openmetrics(openmetrics: &str) -> String {
    let types = openmetrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let families: HashMap<&str, _> = types.map(|(name, kind)| (name, family(name, kind))).collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.extend([line, "\n"]);
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let known = (words.next(), words.next().and_then(|name| families.get(name)), words.next());
        match known {
            (Some("HELP"), Some((name, _)), Some(help)) => text.extend(["# HELP ", name, " ", help, "\n"]),
            (Some("TYPE"), Some((name, kind)), _) => text.extend(["# TYPE ", name, " ", kind, "\n"]),
            // Units and the end of file are OpenMetrics' alone.
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_the_names_of_their_samples() {
        let openmetrics = "# HELP a Events.\n# TYPE a counter\na_total{b=\"# TYPE c\"} 1\n\
                           # HELP d_bytes Size.\n# TYPE d_bytes gauge\n# UNIT d_bytes bytes\nd_bytes 2\n\
                           # HELP e Version.\n# TYPE e info\ne_info{version=\"1\"} 1\n# TYPE f unknown\nf 3\n# EOF\n";
        let text = "# HELP a_total Events.\n# TYPE a_total counter\na_total{b=\"# TYPE c\"} 1\n\
                    # HELP d_bytes Size.\n# TYPE d_bytes gauge\nd_bytes 2\n\
                    # HELP e_info Version.\n# TYPE e_info gauge\ne_info{version=\"1\"} 1\n# TYPE f untyped\nf 3\n";
        assert_eq!(of_openmetrics(openmetrics), text);
    }
}
