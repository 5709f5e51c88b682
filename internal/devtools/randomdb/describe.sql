-- One line of text for each thing, of what was made after initdb.
WITH lines (line) AS (
	SELECT format('relation %s %s %s %s %s %s %s', c.oid::regclass, relkind, relpersistence, reloptions, pg_catalog.pg_get_expr(relpartbound, c.oid),
		CASE WHEN relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END, ARRAY[relrowsecurity, relforcerowsecurity, relispopulated])
	FROM pg_catalog.pg_class c WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'i', 'I', 'c') AND relnamespace <> 'pg_toast'::regnamespace AND c.oid >= 16384
	UNION ALL
	SELECT format('column %s.%I %s %s %s %s %s %s %s', attrelid::regclass, attname, pg_catalog.format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attinhcount,
		attcollation::regcollation, pg_catalog.pg_get_expr(adbin, adrelid))
	FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = attrelid LEFT JOIN pg_catalog.pg_attrdef ON adrelid = attrelid AND adnum = attnum
	WHERE attnum > 0 AND NOT attisdropped AND relnamespace <> 'pg_toast'::regnamespace AND attrelid >= 16384
	UNION ALL SELECT format('index %s cluster %s', pg_catalog.pg_get_indexdef(indexrelid), indisclustered) FROM pg_catalog.pg_index
	WHERE indrelid >= 16384 AND indrelid NOT IN (SELECT oid FROM pg_catalog.pg_class WHERE relkind = 't')
	UNION ALL SELECT format('constraint %I of %s %s: %s', conname, conrelid::regclass, contypid::regtype, pg_catalog.pg_get_constraintdef(oid)) FROM pg_catalog.pg_constraint WHERE oid >= 16384
	UNION ALL SELECT format('view %s: %s', oid::regclass, pg_catalog.pg_get_viewdef(oid)) FROM pg_catalog.pg_class WHERE relkind IN ('v', 'm') AND oid >= 16384
	UNION ALL SELECT 'rule ' || pg_catalog.pg_get_ruledef(oid) FROM pg_catalog.pg_rewrite WHERE oid >= 16384
	UNION ALL SELECT format('trigger %s %s', pg_catalog.pg_get_triggerdef(oid), tgenabled) FROM pg_catalog.pg_trigger WHERE NOT tgisinternal
	UNION ALL SELECT format('statistics %s.%I of %s: %s', stxnamespace::regnamespace, stxname, stxrelid::regclass, (SELECT pg_catalog.array_agg(attname ORDER BY attname)
		FROM pg_catalog.pg_attribute WHERE attrelid = stxrelid AND attnum = ANY (stxkeys))) FROM pg_catalog.pg_statistic_ext
	UNION ALL SELECT 'function ' || pg_catalog.pg_get_functiondef(oid) FROM pg_catalog.pg_proc WHERE oid >= 16384 AND prolang <> (SELECT oid FROM pg_catalog.pg_language WHERE lanname = 'internal')
	UNION ALL SELECT 'policy ' || pg_policies::text FROM pg_catalog.pg_policies
	UNION ALL SELECT format('inherits %s %s', inhrelid::regclass, inhparent::regclass) FROM pg_catalog.pg_inherits
	UNION ALL SELECT 'sequence ' || pg_sequences::text FROM pg_catalog.pg_sequences
	UNION ALL SELECT format('schema %I', nspname) FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'
	UNION ALL SELECT format('type %s %s %s', oid::regtype, typtype, pg_catalog.format_type(typbasetype, typtypmod)) FROM pg_catalog.pg_type WHERE oid >= 16384
		AND (typrelid = 0 OR typrelid IN (SELECT oid FROM pg_catalog.pg_class WHERE relkind <> 't'))
	UNION ALL SELECT format('enum %s %s: %L', enumtypid::regtype, pg_catalog.row_number() OVER (PARTITION BY enumtypid ORDER BY enumsortorder), enumlabel) FROM pg_catalog.pg_enum
	UNION ALL SELECT format('range %s %s %s %s', rngtypid::regtype, rngsubtype::regtype, rngmultitypid::regtype, rngcollation::regcollation) FROM pg_catalog.pg_range WHERE rngtypid >= 16384
	UNION ALL SELECT format('publication %I %s', pubname, ARRAY[puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot]) FROM pg_catalog.pg_publication
	UNION ALL SELECT format('published %I %I.%I', pubname, schemaname, tablename) FROM pg_catalog.pg_publication_tables
	UNION ALL SELECT format('comment on %s: %L', pg_catalog.pg_describe_object(classoid, objoid, objsubid), description) FROM pg_catalog.pg_description WHERE objoid >= 16384 OR classoid = 'pg_catalog.pg_largeobject'::regclass
	UNION ALL SELECT format('large object %s %s %s', oid, length(b), md5(b)) FROM (SELECT oid, lo_get(oid) AS b FROM pg_catalog.pg_largeobject_metadata OFFSET 0) l
)
SELECT line FROM lines ORDER BY line COLLATE "C"
