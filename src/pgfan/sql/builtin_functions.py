"""PostgreSQL's own functions that touch more than their arguments.

Of the 3,000 in pg_catalog nearly all look at their arguments alone. The others are here, by name.
Whatever begins with `pg_` and is not here is a barrier: new servers add such functions, and they
act on the server more often than not. A test compares these names with pg_proc.
"""

from __future__ import annotations

from pgfan.sql.effects import Barrier

SEQUENCE = frozenset({"nextval", "setval"})
SEQUENCE_VALUE = frozenset({"currval", "lastval"})

HARMLESS = frozenset(
    {
        *("pg_typeof", "pg_column_size", "pg_column_compression", "pg_column_toast_chunk_id"),
        *("pg_size_pretty", "pg_size_bytes", "pg_sleep", "pg_sleep_for", "pg_sleep_until"),
        *("pg_backend_pid", "pg_collation_for", "pg_client_encoding", "pg_trigger_depth"),
        *("pg_input_is_valid", "pg_input_error_info", "pg_char_to_encoding", "pg_encoding_to_char"),
        *("pg_encoding_max_length", "pg_wal_lsn_diff", "pg_visible_in_snapshot"),
        *("pg_snapshot_xip", "pg_snapshot_xmax", "pg_snapshot_xmin", "pg_basetype"),
        *("pg_current_xact_id", "pg_current_xact_id_if_assigned", "pg_current_snapshot"),
        *("pg_postmaster_start_time", "pg_conf_load_time", "pg_is_in_recovery", "pg_get_keywords"),
        *("pg_advisory_xact_lock", "pg_advisory_xact_lock_shared", "pg_jit_available"),
    }
)
"""Begin with `pg_`, and what they give does not depend on what other tasks have done."""
HARMLESS_PREFIXES = ("pg_lsn", "pg_timezone_")

ADVISORY_LOCKS = frozenset(
    {
        *("pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_unlock"),
        *("pg_advisory_unlock_all", "pg_advisory_unlock_shared", "pg_try_advisory_lock"),
        *("pg_try_advisory_lock_shared", "pg_try_advisory_xact_lock"),
        "pg_try_advisory_xact_lock_shared",
    }
)

DYNAMIC = frozenset(
    {
        *("query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema"),
        *("cursor_to_xml", "cursor_to_xmlschema", "ts_stat", "ts_rewrite"),
    }
)
"""Run a query that is given as text, which may call anything."""

_READS_CATALOGUE = frozenset(
    {
        *("amvalidate", "col_description", "obj_description", "shobj_description", "format_type"),
        *("currtid2", "row_security_active", "oidvectortypes", "aclexplode", "pg_nextoid"),
        *("pg_partition_ancestors", "pg_partition_tree", "pg_partition_root", "pg_describe_object"),
        *("pg_identify_object", "pg_identify_object_as_address", "pg_filenode_relation"),
        *("pg_sequence_parameters", "pg_sequence_last_value", "pg_mcv_list_items", "pg_cursor"),
        *("pg_lock_status", "pg_my_temp_schema", "pg_blocking_pids", "pg_options_to_table"),
        *("pg_prepared_statement", "pg_listening_channels", "pg_event_trigger_ddl_commands"),
        *("pg_event_trigger_dropped_objects", "pg_event_trigger_table_rewrite_oid"),
        *("pg_event_trigger_table_rewrite_reason", "pg_stat_file", "pg_read_file", "regclass"),
        *("pg_read_binary_file", "pg_is_other_temp_schema", "txid_status", "pg_xact_status"),
        *("pg_database_size", "pg_tablespace_size", "pg_config", "pg_available_extensions"),
        *("pg_available_extension_versions", "pg_extension_update_paths", "pg_show_all_settings"),
        *("pg_settings_get_flags", "pg_indexam_has_property", "pg_index_has_property"),
        *("pg_index_column_has_property", "pg_column_is_updatable", "pg_current_logfile"),
        *("table_to_xml", "table_to_xmlschema", "table_to_xml_and_xmlschema"),
        *("schema_to_xml", "schema_to_xmlschema", "schema_to_xml_and_xmlschema"),
        *("database_to_xml", "database_to_xmlschema", "database_to_xml_and_xmlschema"),
    }
)
_READS_CATALOGUE_PREFIXES = (
    *("has_", "to_reg", "pg_has_", "pg_get_", "pg_stat_get_", "pg_relation_", "pg_table_size"),
    *("pg_total_relation_", "pg_indexes_size", "pg_ls_", "pg_tablespace_", "pg_xact_commit_"),
    *("pg_current_wal", "pg_last_", "pg_control_"),
)
_ACTS = ("lo_", "loread", "lowrite", "binary_upgrade_", "brin_", "gin_clean_", "pg_")
_BRIN_SUPPORT = ("brin_bloom_", "brin_minmax_", "brin_inclusion_")


def function_barrier(name: str) -> Barrier | None:
    """Why a call of pg_catalog's function `name` keeps its place among all tasks, or None."""
    if name in DYNAMIC:
        return Barrier("dynamic-sql", f"{name}() runs a query that is given as text")
    if name in HARMLESS or name.startswith(HARMLESS_PREFIXES + _BRIN_SUPPORT):
        return None
    if name in _READS_CATALOGUE or name.startswith(_READS_CATALOGUE_PREFIXES):
        return Barrier(
            "catalogue-read", f"{name}() looks at the catalogue or the server", opaque=False
        )
    if name.endswith("_is_visible"):
        return Barrier("catalogue-read", f"{name}() looks at the catalogue", opaque=False)
    if name.startswith(_ACTS):
        return Barrier("function-unknown", f"{name}() may change anything")
    return None
