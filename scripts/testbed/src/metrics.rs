//! Values in a text that Prometheus reads
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).

/// The value of a metric by its name with its labels, but the operation: a service under test has one. `None` when
/// there is no value yet.
#[must_use]
pub fn value(exposition: &str, name: &str) -> Option<f64> {
    let mut samples = exposition.lines().filter_map(|line| line.rsplit_once(' '));
    samples.find_map(|(sample, value)| (without_operation(sample) == name).then(|| value.parse().ok())?)
}

fn without_operation(sample: &str) -> String {
    let split = sample.split_once("operation=\"");
    let split = split.and_then(|(before, rest)| Some((before, rest.split_once('"')?.1)));
    let Some((before, after)) = split else {
        return sample.to_owned();
    };
    format!("{before}{}", after.trim_start_matches(','))
        .replace(",}", "}")
        .replace("{}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE pending gauge\npending{operation=\"weather\"} 7\npending_most 9\n\
        refused{operation=\"weather\",reason=\"full\"} 3\nrefused{code=\"1\",operation=\"weather\"} 2.5\n";

    #[test]
    fn a_metric_is_found_by_its_name_and_its_labels_but_the_operation() {
        assert_eq!(value(TEXT, "pending"), Some(7.0));
        assert_eq!(value(TEXT, "pending_most"), Some(9.0));
        assert_eq!(value(TEXT, "refused{reason=\"full\"}"), Some(3.0));
        assert_eq!(value(TEXT, "refused{code=\"1\"}"), Some(2.5));
    }

    #[test]
    fn what_is_not_there_has_no_value() {
        for name in ["pend", "refused", "# TYPE pending", "refused{reason=\"empty\"}"] {
            assert_eq!(value(TEXT, name), None, "{name}");
        }
    }
}
