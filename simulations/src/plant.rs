//! The command `mutants`: plants every protocol bug and shows what kills it.
//!
//! The bugs are compiled in only with the feature `mutants`, which a build of the workspace must not turn
//! on for the product. Without it this command builds and runs itself again with the feature.

use std::process::ExitCode;

/// What `mutants` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Seeds tried for each mutant before it counts as a survivor; at most 2,000.
    #[arg(long, default_value_t = 2_000)]
    pub seeds: u64,
    /// Threads; by default as many as there are processors.
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Print JSON: `total`, `killed`, `survivors`, and each mutant with what killed it.
    #[arg(long)]
    pub json: bool,
    /// Only these mutants, by name.
    pub names: Vec<String>,
}

/// Runs the command: success if every mutant is killed.
#[cfg(feature = "mutants")]
pub fn command(args: &Args) -> ExitCode {
    use crate::mutants;
    use sync_core::mutant::Mutant;

    let chosen =
        |mutant: &Mutant| args.names.is_empty() || args.names.iter().any(|name| name == mutant.name());
    let chosen: Vec<Mutant> = Mutant::ALL.iter().copied().filter(chosen).collect();
    if let Some(name) = args.names.iter().find(|name| Mutant::ALL.iter().all(|mutant| mutant.name() != *name))
    {
        eprintln!("there is no mutant {name}; without a name all are planted, and listed");
        return ExitCode::FAILURE;
    }
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let report = mutants::run(&chosen, args.seeds, jobs);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report has string keys only"));
    } else {
        println!("{report}");
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds this program with the mutants and runs the command there.
#[cfg(not(feature = "mutants"))]
pub fn command(args: &Args) -> ExitCode {
    let by_hand = "cargo run --release -p simulations --features mutants -- mutants";
    let (Some(cargo), Some(folder)) = (std::env::var_os("CARGO"), std::env::var_os("CARGO_MANIFEST_DIR"))
    else {
        eprintln!("this build has no mutants; run: {by_hand}");
        return ExitCode::FAILURE;
    };
    let mut again = std::process::Command::new(cargo);
    again.current_dir(folder).args(["run", "--release", "--quiet", "--features", "mutants", "--", "mutants"]);
    again.args(["--seeds", &args.seeds.to_string()]);
    again.args(args.jobs.iter().flat_map(|jobs| ["--jobs".to_owned(), jobs.to_string()]));
    again.args(args.json.then_some("--json")).args(&args.names);
    match again.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot start cargo ({error}); run: {by_hand}");
            ExitCode::FAILURE
        }
    }
}
