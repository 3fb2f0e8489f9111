use super::*;
use crate::relay::decode::outbox::Outbox;

fn name(name: &str) -> TableName {
    TableName { schema: "outbox".to_owned(), name: name.to_owned() }
}

const COLUMNS: [&str; 8] = ["id", "schema_name", "schema_version", "topic", "key", "payload", "headers", "created_at"];

fn column(name: &str, generated: &str) -> CatalogColumn {
    CatalogColumn { name: name.to_owned(), generated: generated.to_owned() }
}

/// A table that is streamed as it should be, on PostgreSQL 15.
fn sound() -> Catalog {
    let sent = COLUMNS.iter().map(|name| (*name).to_owned()).collect();
    Catalog {
        database: "shop".to_owned(),
        version: 150_000,
        publication: Some(Publication { inserts: true, via_root: true, entries: "1/2".to_owned() }),
        table: Some(CatalogTable {
            kind: "p".to_owned(),
            persistence: "p".to_owned(),
            published: Some(PublishedTable { filter: None, columns: Some(sent), has_list: false }),
            by_partition: false,
            columns: COLUMNS.iter().map(|name| column(name, "")).chain([column("note", "s")]).collect(),
            odd_parts: Vec::new(),
            children: Vec::new(),
        }),
    }
}

/// The verdict on a catalog with this change.
fn told(change: impl FnOnce(&mut Catalog, &mut Outbox)) -> String {
    let (mut catalog, mut outbox) = (sound(), Outbox::walpost("outbox", "event"));
    change(&mut catalog, &mut outbox);
    let table = OutboxTable::of(&outbox);
    let outboxes = [table.table.clone(), name("other")];
    match judge(&catalog, ("pub", &table), &outboxes) {
        Ok(()) => "streamed".to_owned(),
        Err(error) => {
            assert!(error.is_publication_mismatch(), "{error}");
            error.to_string()
        }
    }
}

fn table(catalog: &mut Catalog) -> &mut CatalogTable {
    catalog.table.as_mut().expect("the table is there")
}

fn published(catalog: &mut Catalog) -> &mut PublishedTable {
    table(catalog).published.as_mut().expect("it is published")
}

#[test]
fn case_32_only_completely_streamed_tables_are_accepted() {
    assert_eq!(told(|_, _| ()), "streamed");
    // Columns that are not read may be left out; missing columns can't be.
    assert_eq!(
        told(|catalog, _| {
            published(catalog).has_list = true;
            table(catalog).columns.retain(|column| column.name != "topic");
            table(catalog).columns.push(column("tenant", ""));
            let sent = COLUMNS.iter().filter(|name| **name != "topic").map(|name| (*name).to_owned());
            published(catalog).columns = Some(sent.collect());
        }),
        "streamed"
    );
    // On 14, which has no column lists.
    assert_eq!(told(|catalog, _| published(catalog).columns = None), "streamed");
    let of_others = |catalog: &mut Catalog, _: &mut Outbox| {
        table(catalog).kind = "r".to_owned();
        table(catalog).children = vec![name("other")];
    };
    assert_eq!(told(of_others), "streamed", "a child that is an outbox itself");
    let archived = |catalog: &mut Catalog, _: &mut Outbox| {
        let part = |kind: &str| TablePart { table: name("event_1"), kind: kind.to_owned(), takes_rows: false };
        table(catalog).odd_parts = vec![part("r"), part("f")];
        assert_eq!(catalog.archived(), [name("event_1"), name("event_1")]);
    };
    assert_eq!(told(archived), "streamed", "partitions that take no rows");
}

#[test]
fn case_32_what_is_not_streamed_is_reported_with_the_fix() {
    let mut all = String::new();
    let mut tell = |change: &dyn Fn(&mut Catalog, &mut Outbox)| all += &format!("{}\n", told(change));
    tell(&|catalog, _| {
        published(catalog).columns = Some(["id", "key", "payload"].map(str::to_owned).to_vec());
        published(catalog).has_list = true;
    });
    let part = |kind: &str| TablePart { table: name("event_1"), kind: kind.to_owned(), takes_rows: true };
    tell(&|catalog, _| table(catalog).odd_parts = vec![part("r")]);
    tell(&|catalog, _| table(catalog).odd_parts = vec![part("f")]);
    tell(&|catalog, _| {
        table(catalog).kind = "r".to_owned();
        table(catalog).persistence = "u".to_owned();
        table(catalog).published = None;
    });
    tell(&|catalog, _| {
        table(catalog).kind = "r".to_owned();
        table(catalog).children = vec![name("other"), name("event_child")];
    });
    tell(&|catalog, _| table(catalog).kind = "v".to_owned());
    let generated = |catalog: &mut Catalog, outbox: &mut Outbox, version, kind| {
        outbox.header_columns.push(("note".to_owned(), "note".to_owned()));
        catalog.version = version;
        table(catalog).columns.retain(|column| column.name != "note");
        table(catalog).columns.push(column("note", kind));
    };
    // 15 to 17 list it and don't send it.
    tell(&|catalog, outbox| {
        generated(catalog, outbox, 150_000, "s");
        published(catalog).columns.as_mut().expect("columns").push("note".to_owned());
    });
    tell(&|catalog, outbox| generated(catalog, outbox, 180_000, "s"));
    tell(&|catalog, outbox| generated(catalog, outbox, 180_000, "v"));
    tell(&|catalog, outbox| {
        generated(catalog, outbox, 180_000, "s");
        published(catalog).has_list = true;
    });
    // Partitions under their own names, although the root would be reported.
    tell(&|catalog, _| {
        table(catalog).published = None;
        table(catalog).by_partition = true;
    });
    expect_test::expect![[r#"
        publication pub excludes "schema_name", "schema_version", "topic", "headers", "created_at" of table "outbox"."event" by a column list: run `alter publication "pub" drop table "outbox"."event"; alter publication "pub" add table "outbox"."event"`
        partition "outbox"."event_1" of "outbox"."event" is unlogged, so Postgres does not stream its rows: run `alter table "outbox"."event_1" set logged`, then publish its existing rows with `walpost replay --from-table`; if it is an archive whose rows were published before it was unlogged, close it instead: `alter table "outbox"."event_1" add constraint archived check (false) not valid`
        partition "outbox"."event_1" of "outbox"."event" is a foreign table that takes rows, and Postgres does not stream those: run `alter table "outbox"."event" detach partition "outbox"."event_1"`; or, if it is an archive, make it read-only (with postgres_fdw: `alter foreign table "outbox"."event_1" options (add updatable 'false')`)
        table "outbox"."event" is unlogged, so Postgres does not stream its rows: run `alter table "outbox"."event" set logged`, then publish its existing rows with `walpost replay --from-table`
        table "outbox"."event_child" inherits from "outbox"."event", so Postgres streams its rows under its own name: run `alter table "outbox"."event_child" no inherit "outbox"."event"`, or add an [[outbox]] for it
        "outbox"."event" is a view, and Postgres streams the rows of tables only: set [[outbox]] table to the table itself
        column "note" of table "outbox"."event", which the relay reads as a header, is generated, and publication pub does not publish it: make it an ordinary column filled by a trigger, or set another column in [[outbox]]
        column "note" of table "outbox"."event", which the relay reads as a header, is generated, and publication pub does not publish it: run `alter publication "pub" set (publish_generated_columns = stored)`
        column "note" of table "outbox"."event", which the relay reads as a header, is generated, and publication pub does not publish it: make it an ordinary column filled by a trigger, or set another column in [[outbox]]
        publication pub excludes "note" (a header) of table "outbox"."event" by a column list: run `alter publication "pub" drop table "outbox"."event"; alter publication "pub" add table "outbox"."event"`
        publication pub lacks table "outbox"."event": run `alter publication "pub" add table "outbox"."event"`
    "#]]
    .assert_eq(&all);
}
