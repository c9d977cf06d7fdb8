use dbtune::db::*;
#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let t = Target::resolve(Some(&url), &Default::default()).unwrap();
    let s = Session::connect(&t, "cat").await.unwrap();
    let at = std::time::Instant::now();
    let mut c = read_catalog(&s).await.unwrap_or_else(|e| panic!("{e}"));
    let st = read_statements(&s, &mut c)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    eprintln!(
        "{:?} tables {} functions {} gaps {:#?}",
        at.elapsed(),
        c.tables.len(),
        c.functions.len(),
        c.gaps
    );
    println!("{}", serde_json::to_string_pretty(&c).unwrap());
    if let Some(st) = st {
        eprintln!(
            "{} statements, {:?}",
            st.statements.len(),
            st.statements.first()
        );
    }
}
