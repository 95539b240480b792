"""Rewrites a hospital as other tools export theirs: OMOP CDM 5.3, CSV, upper-case names, ids as
doubles, empty columns. Arguments: the folder of a generated hospital, the folder to make.

Prints the rows of each table (JSON), and the smallest and largest person id it gave.
"""

import json
import os
import sys

import duckdb

# A person's id becomes a number that can't be mistaken for anything else.
FIRST_PERSON = 7_716_000_000_000
OLD_NAMES = {
    "admitted_from_concept_id": "admitting_source_concept_id",
    "admitted_from_source_value": "admitting_source_value",
    "discharged_to_concept_id": "discharge_to_concept_id",
    "discharged_to_source_value": "discharge_to_source_value",
}


def main():
    source, target = sys.argv[1:]
    os.makedirs(target)
    rows = {}
    for file in sorted(os.listdir(source)):
        table = os.path.splitext(file)[0]
        rows[table] = disguise(os.path.join(source, file), table, target)
    json.dump({"rows": rows, "first_person": FIRST_PERSON}, sys.stdout)


def disguise(file, table, target):
    db = duckdb.connect()
    db.execute(f"CREATE VIEW t AS FROM read_parquet('{file}')")
    columns = [row[0] for row in db.execute("DESCRIBE t").fetchall()]
    chosen = ", ".join(column(name) for name in columns) + ', NULL AS "WARD_NEVER_HEARD_OF"'
    out = os.path.join(target, table.upper() + ".csv")
    db.execute(f"COPY (SELECT {chosen} FROM t ORDER BY random()) TO '{out}' (HEADER)")
    return db.execute("SELECT count(*) FROM t").fetchone()[0]


def column(name):
    written = OLD_NAMES.get(name, name).upper()
    if name == "person_id":
        return f'({FIRST_PERSON} + {name})::DOUBLE AS "{written}"'
    if name.endswith("_concept_id"):
        return f'{name}::DOUBLE AS "{written}"'
    return f'{name} AS "{written}"'


if __name__ == "__main__":
    main()
