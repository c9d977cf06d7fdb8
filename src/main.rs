//! Parses arguments, runs one command, prints one report, returns one exit code.

use dbtune::cli::{self, Cli, Context, Progress};
use dbtune::report::Style;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::from_arguments();
    let context = Context {
        progress: Progress::new(cli.global.quiet),
        env: std::env::vars().collect(),
        global: cli.global,
    };
    // What is timed must not wait for one thread to wake another.
    let mut runtime = if cli.command.is_timed() {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&context, &error.into()),
    };
    match runtime.block_on(cli::run(cli.command, &context)) {
        Ok(report) => {
            // Decided before anything is printed, so that no format and no closed pipe can change it.
            let code = u8::from(report.outcome);
            let printed = print(&context, &report);
            // The process ends here: to free a hundred thousand findings one by one would only delay that.
            std::mem::forget(report);
            match printed {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(
                    &context,
                    &anyhow::Error::new(error).context("could not print the report"),
                ),
                _ => ExitCode::from(code),
            }
        }
        Err(error) => fail(&context, &error),
    }
}

fn print(context: &Context, report: &dbtune::model::Report) -> io::Result<()> {
    let terminal = io::stdout().is_terminal();
    let width = context.env.get("COLUMNS").and_then(|c| c.parse().ok());
    let style = Style {
        color: terminal && !context.global.no_color && !context.env.contains_key("NO_COLOR"),
        width: width
            .or_else(cli::terminal_width)
            .unwrap_or(100)
            .clamp(60, 160),
        ascii: cli::is_ascii(&context.env),
    };
    let mut out = io::stdout().lock();
    if let Some(format) = dbtune::report::format(&context.global.format) {
        (format.render)(report, style, &mut out)?;
    }
    out.flush()
}

fn fail(context: &Context, error: &anyhow::Error) -> ExitCode {
    let code = cli::code_for(error);
    let mut err = io::stderr().lock();
    // A closed standard error changes nothing about the code.
    let _ = if context.global.format == "json" {
        let json = cli::failure_json(error, chrono::Utc::now(), uuid::Uuid::new_v4());
        writeln!(err, "{json:#}")
    } else {
        writeln!(
            err,
            "dbtune: {}",
            dbtune::report::clean(&format!("{error:#}"))
        )
    };
    ExitCode::from(code)
}
