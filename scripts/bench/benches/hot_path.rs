//! How long each case takes, for humans: `cargo bench -p bench`, or `cargo bench -p bench -- decode`.

use criterion::{Criterion, criterion_group, criterion_main};

fn hot_path(criterion: &mut Criterion) {
    for mut case in bench::cases() {
        criterion.bench_function(case.name, |bencher| bencher.iter(|| case.run()));
    }
}

mod group {
    #![allow(missing_docs)] // The macro writes a public function without one.
    super::criterion_group!(hot_path, super::hot_path);
}

criterion_main!(group::hot_path);
