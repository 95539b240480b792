"""Recomputes the starter templates with DuckDB, with the same bounding as a node.

An oracle that shares no code with Ward: each table is written again in DuckDB's SQL, on the
snapshots' Parquet files, and each patient is bounded here, by the rules of
node/privacy/src/bound.rs. Reads a case (JSON) from standard input:

    {"nodes": [{"snapshot": DIR, "selection_key": HEX}, ...], "vocabulary": FILE,
     "asks": [{"parameters": {...}, "plan": PLAN}, ...]}

and writes, for every ask, the integers summed over the nodes (by table, component, cell) and how
often patients had more than a limit allows:

    {"asks": [[{"sums": [[...], ...], "groups_cut": N, "rows_cut": N}, ...], ...]}
"""

import datetime
import json
import os
import struct
import sys
import tarfile
import tempfile

import duckdb

MASK = (1 << 64) - 1

AGE = """CASE WHEN {year} - p.year_of_birth < 0 THEN NULL
     WHEN {year} - p.year_of_birth < 18 THEN '0-17'
     WHEN {year} - p.year_of_birth < 40 THEN '18-39'
     WHEN {year} - p.year_of_birth < 65 THEN '40-64'
     WHEN {year} - p.year_of_birth < 80 THEN '65-79'
     ELSE '80+' END"""

# By template and table: the rows, with the keys' columns; and by component, what it counts: a
# condition for patients and rows, a value for sums.
TABLES = {
    ("patients_by_age_and_sex", "patients"): {
        "rows": "SELECT p.person_id, " + AGE.format(year="year($as_of)") + """ AS age,
                        p.gender_concept_id AS sex
                 FROM person p""",
        "components": {"patients": ("patients", "true")},
    },
    ("condition_prevalence", "prevalence"): {
        "rows": "SELECT p.person_id, " + AGE.format(year="year($as_of)") + """ AS age,
                        p.gender_concept_id AS sex,
                        EXISTS (FROM condition_occurrence o
                                WHERE o.person_id = p.person_id
                                  AND o.condition_start_date <= $as_of
                                  AND o.condition_concept_id IN (
                                      SELECT descendant_concept_id FROM concept_ancestor
                                      WHERE ancestor_concept_id = $condition)) AS hit
                 FROM person p""",
        "components": {"affected": ("patients", "hit"), "patients": ("patients", "true")},
    },
    ("drug_exposure_by_sex", "exposure"): {
        "rows": """SELECT p.person_id, p.gender_concept_id AS sex,
                          EXISTS (FROM drug_exposure e
                                  WHERE e.person_id = p.person_id
                                    AND e.drug_exposure_start_date >= $since
                                    AND e.drug_concept_id IN (
                                        SELECT descendant_concept_id FROM concept_ancestor
                                        WHERE ancestor_concept_id = $drug)) AS hit
                   FROM person p""",
        "components": {"exposed": ("patients", "hit"), "patients": ("patients", "true")},
    },
    ("hba1c_by_age_and_sex", "hba1c"): {
        "rows": "SELECT m.person_id, " + AGE.format(year="year($since)") + """ AS age,
                        p.gender_concept_id AS sex, m.value_as_number AS x
                 FROM measurement m JOIN person p USING (person_id)
                 WHERE m.measurement_concept_id = 3004410 AND m.unit_concept_id = 8554
                   AND m.measurement_date >= $since""",
        "components": {
            "patients": ("patients", "true"),
            "mean_hba1c (sum)": ("sum", "x"),
            "mean_hba1c (count)": ("rows", "x IS NOT NULL"),
        },
    },
    ("length_of_stay_by_visit_type", "stays"): {
        "rows": """SELECT v.person_id, v.visit_concept_id AS visit_type,
                          CASE WHEN v.visit_end_date >= v.visit_start_date
                               THEN date_diff('day', v.visit_start_date, v.visit_end_date) END AS x
                   FROM visit_occurrence v
                   WHERE v.visit_start_date >= $since""",
        "components": {
            "patients": ("patients", "true"),
            "mean_nights (sum)": ("sum", "x"),
            "mean_nights (count)": ("rows", "x IS NOT NULL"),
        },
    },
    ("visits_by_month_and_type", "by_type"): {
        "rows": """SELECT v.person_id, date_trunc('month', v.visit_start_date)::DATE AS month,
                          v.visit_concept_id AS visit_type
                   FROM visit_occurrence v
                   WHERE v.visit_start_date >= $since""",
        "components": {"visits": ("rows", "true")},
    },
    ("visits_by_month_and_type", "telehealth_by_year"): {
        "rows": """SELECT v.person_id, date_trunc('year', v.visit_start_date)::DATE AS year,
                          v.visit_concept_id = 5083 AS remote
                   FROM visit_occurrence v
                   WHERE v.visit_start_date >= $since""",
        "components": {"visits": ("rows", "true"), "telehealth": ("rows", "remote")},
    },
}


def main():
    check_siphash()
    case = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(case["vocabulary"]) as package:
            package.extractall(scratch, filter="data")
        answers = [
            [one_table(case["nodes"], scratch, ask, table) for table in ask["plan"]["tables"]]
            for ask in case["asks"]
        ]
    json.dump({"asks": answers}, sys.stdout)


def one_table(nodes, vocabulary, ask, table):
    cells = 1
    for key in table["keys"]:
        cells *= len(key["domain"]["values"])
    total = {
        "sums": [[0] * cells for _ in table["components"]],
        "groups_cut": 0,
        "rows_cut": 0,
    }
    for node in nodes:
        add_node(total, node, vocabulary, ask, table)
    return total


def add_node(total, node, vocabulary, ask, table):
    db = connect(node["snapshot"], vocabulary)
    spec = TABLES[ask["plan"]["template"]["id"], table["name"]]
    index = KeyIndex(table["keys"])
    rows = with_parameters(spec["rows"], ask["parameters"])
    seen = present(db, rows, index)
    kept, cut = choose(seen, table["contribution"]["max_groups"], bytes.fromhex(node["selection_key"]))
    total["groups_cut"] += cut
    limit = table["contribution"]["max_rows_per_group"]
    for sums, component in zip(total["sums"], table["components"]):
        kind, what = spec["components"][component["name"]]
        for (patient, cell), (count, value) in counted(db, rows, index, kind, what, component).items():
            total["rows_cut"] += kind != "patients" and count > limit
            if cell not in kept[patient]:
                continue
            if kind == "patients":
                sums[cell] += 1
            elif kind == "rows":
                sums[cell] += min(count, limit)
            elif count <= limit:
                sums[cell] += value
            else:  # round(s·L/m), halves up
                sums[cell] += (2 * value * limit + count) // (2 * count)


def connect(snapshot, vocabulary):
    db = duckdb.connect()
    for table in sorted(os.listdir(snapshot)):
        if os.path.isdir(os.path.join(snapshot, table)):
            files = os.path.join(snapshot, table, "*.parquet")
            db.execute(f"CREATE VIEW {table} AS FROM read_parquet('{files}')")
    for file in sorted(os.listdir(vocabulary)):
        name, kind = os.path.splitext(file)
        if kind == ".parquet":
            path = os.path.join(vocabulary, file)
            db.execute(f"CREATE VIEW {name} AS FROM read_parquet('{path}')")
    return db


def with_parameters(sql, parameters):
    """Literals in place of $names; the values come from the test."""
    for name in sorted(parameters, key=len, reverse=True):
        value = parameters[name]
        literal = value if value.isdigit() else f"DATE '{datetime.date.fromisoformat(value)}'"
        sql = sql.replace(f"${name}", literal)
    return sql


class KeyIndex:
    """The cell of a row's keys: the last key varies fastest; None outside the domains."""

    def __init__(self, keys):
        self.names = [key["name"] for key in keys]
        self.positions = [
            {typed(value): at for at, value in enumerate(key["domain"]["values"])} for key in keys
        ]

    def cell(self, keys):
        cell = 0
        for key, positions in zip(keys, self.positions):
            if key not in positions:
                return None
            cell = cell * len(positions) + positions[key]
        return cell


def typed(value):
    if value["type"] == "date":
        return datetime.date.fromisoformat(value["value"])
    return value["value"]


def present(db, rows, index):
    """The cells of each patient, whatever they hold."""
    names = ", ".join(index.names)
    seen = {}
    for patient, *keys in db.execute(f"SELECT DISTINCT person_id, {names} FROM ({rows})").fetchall():
        cell = index.cell(keys)
        if cell is not None:
            seen.setdefault(patient, set()).add(cell)
    return seen


def choose(seen, max_groups, key):
    """The cells of each patient that stay, and how many patients lose some."""
    kept, cut = {}, 0
    for patient, cells in seen.items():
        if len(cells) > max_groups:
            cut += 1
            cells = set(sorted(cells, key=lambda cell: (rank(key, patient, cell), cell))[:max_groups])
        kept[patient] = cells
    return kept, cut


def counted(db, rows, index, kind, what, component):
    """Rows that count and the sum of their grid integers, by patient and cell."""
    names = ", ".join(index.names)
    value, condition = (what, f"({what}) IS NOT NULL") if kind == "sum" else ("0", what)
    query = f"""SELECT person_id, {names}, {value} AS value, count(*)
                FROM ({rows}) WHERE {condition} GROUP BY ALL"""
    found = {}
    for patient, *keys, value, count in db.execute(query).fetchall():
        cell = index.cell(keys)
        if cell is None:
            continue
        m, s = found.get((patient, cell), (0, 0))
        step = on_grid(value, component["unit"]) if kind == "sum" else 0
        found[patient, cell] = (m + count, s + count * step)
    return found


def on_grid(value, unit):
    """Steps from the origin: divided by the step, rounded half to even, clamped."""
    step = float(unit["grid"]["step"])
    lower, upper = (round(float(unit["grid"][end]) / step) for end in ("lower", "upper"))
    return min(max(round(float(value) / step), lower), upper) - unit["origin"]


def rank(key, patient, cell):
    """The patient's keyed hash, mixed with the group."""
    secret = siphash128(key, struct.pack("<q", patient))
    low, high = secret & MASK, secret >> 64
    mixed = ((low ^ cell) * 0x9E3779B97F4A7C15) & MASK
    mixed = (((mixed ^ (mixed >> 32)) ^ high) * 0xD6E8FEB86659FD93) & MASK
    return mixed ^ (mixed >> 32)


def siphash128(key, message):
    """SipHash-2-4 with 128 bits of output, the first half the lower one."""
    k0, k1 = struct.unpack("<QQ", key)
    v = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D ^ 0xEE,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]
    whole = len(message) // 8 * 8
    words = [word for (word,) in struct.iter_unpack("<Q", message[:whole])]
    words.append(int.from_bytes(message[whole:], "little") | (len(message) & 0xFF) << 56)
    for word in words:
        v[3] ^= word
        rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(v, 4)
    low = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(v, 4)
    return low | (v[0] ^ v[1] ^ v[2] ^ v[3]) << 64


def rounds(v, count):
    a, b, c, d = v
    for _ in range(count):
        a = (a + b) & MASK
        b = (b << 13 | b >> 51) & MASK ^ a
        a = (a << 32 | a >> 32) & MASK
        c = (c + d) & MASK
        d = (d << 16 | d >> 48) & MASK ^ c
        a = (a + d) & MASK
        d = (d << 21 | d >> 43) & MASK ^ a
        c = (c + b) & MASK
        b = (b << 17 | b >> 47) & MASK ^ c
        c = (c << 32 | c >> 32) & MASK
    v[:] = a, b, c, d


def check_siphash():
    """The first two vectors of the reference implementation (vectors_sip128)."""
    key = bytes(range(16))
    for message, expected in [
        (b"", "a3817f04ba25a8e66df67214c7550293"),
        (b"\x00", "da87c1d86b99af44347659119b22fc45"),
    ]:
        assert siphash128(key, message).to_bytes(16, "little").hex() == expected


if __name__ == "__main__":
    main()
