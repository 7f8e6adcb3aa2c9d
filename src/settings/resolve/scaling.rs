//! How large the cluster should be.

use super::super::model::Scaling;
use super::super::section::Section;
use super::super::value::{Fraction, WebAddress};

pub(super) fn read(section: &Section<'_>) -> Scaling {
    let fraction = |key| {
        let Fraction(fraction) = section.take(key);
        fraction
    };
    let scaling = Scaling {
        up_connections: fraction("up_connections"),
        up_cpu: fraction("up_cpu"),
        down_below: fraction("down_below"),
        up_after: section.take("up_after"),
        down_after: section.take("down_after"),
        min_nodes: section.take("min_nodes"),
        max_nodes: section.take("max_nodes"),
        webhook: section.take::<Option<WebAddress>>("webhook").map(|WebAddress(url)| url),
    };
    if scaling.min_nodes == 0 {
        section.refuse("min_nodes", "a cluster has one node at least");
    } else if scaling.max_nodes < scaling.min_nodes {
        section.refuse("max_nodes", format!("less than scaling.min_nodes ({})", scaling.min_nodes));
    }
    scaling
}
