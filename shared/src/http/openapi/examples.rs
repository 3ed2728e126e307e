//! Examples of problems. The rule: the description of a response names its kinds in backticks, and each of them gets an
//! example, made as the services make them.

use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{OpenApi, RefOr, Response};

use crate::http::problem::{MEDIA_TYPE, ProblemType};

/// Adds to every problem response an example of each kind that its description names.
pub(super) fn add(document: &mut OpenApi) {
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response {
                describe(response);
            }
        }
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut path.get,
        &mut path.put,
        &mut path.post,
        &mut path.delete,
        &mut path.patch,
    ]
    .into_iter()
    .flatten()
}

fn describe(response: &mut Response) {
    let named = |kind: &&ProblemType| response.description.contains(&format!("`{}`", kind.name()));
    let kinds: Vec<_> = ProblemType::ALL.iter().filter(named).collect();
    let Some(RefOr::T(content)) = response.content.get_mut(MEDIA_TYPE) else {
        return;
    };
    for kind in kinds {
        let example = serde_json::to_value(kind.example()).expect("a problem has only text, numbers and lists");
        let example = ExampleBuilder::new().value(Some(example)).build();
        content.examples.insert(kind.name().to_owned(), RefOr::T(example));
    }
}
