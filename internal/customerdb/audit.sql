-- What can a credential do, and can it read everything that a dump needs? Run as the credential itself, on servers from
-- 13 on; every catalog used is readable by PUBLIC, and apart from begin every statement is a SELECT. A line that begins
-- with "-- name:" begins a part; Go sends the parts without their comments.
--
-- Findings have five columns: code, severity, object (quoted as SQL), detail (why, in words that a customer may read) and
-- fix (SQL to paste as the database's owner, or ''). remora.Severity says what a severity means.
--
-- What is easily overlooked:
--   * Powers come through SET ROLE too, so memberships count that do not inherit: all checks run for every role that
--     session_user can become ("reach").
--   * ALTER ROLE x SET role = 'owner' makes current_user differ from session_user from the first statement on.
--   * has_table_privilege() says nothing of ownership, role attributes, default privileges, grant options or SECURITY
--     DEFINER functions.
--   * USAGE on a sequence allows nextval(), which is a write.
--   * pg_read_all_data covers neither large objects nor rows behind row security.
--   * SELECT on a partitioned table is not SELECT on its partitions to a session that reads these, as pg_dump does; and
--     row security of the parent does not hold for it.
--   * A READ ONLY transaction does not stop lo_create() on servers before 16, nor NOTIFY, advisory locks, LOCK … ACCESS
--     SHARE or PREPARE TRANSACTION on any. It does stop nextval(), temporary tables and all ordinary writes.


-- name: begin
-- The settings are for what a role or database may have set otherwise; compiling and parallel workers would cost the
-- server more than the queries.
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL quote_all_identifiers = off;
SET LOCAL statement_timeout = '60s';
SET LOCAL lock_timeout = '2s';
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL jit = off;
SET LOCAL max_parallel_workers_per_gather = 0;
SELECT set_config('transaction_timeout', '0', true) AS ignored WHERE current_setting('server_version_num')::int >= 170000;
SELECT set_config('idle_session_timeout', '0', false) AS ignored WHERE current_setting('server_version_num')::int >= 140000;


-- name: server
SELECT current_setting('server_version_num')::int AS server_version_num, left(split_part(current_setting('server_version'), ' ', 1), 100),
       pg_catalog.pg_is_in_recovery(), session_user::text,
       pg_catalog.pg_export_snapshot(), pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text;


-- name: size
SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS size;
SELECT (SELECT greatest(reltuples, 0)::bigint FROM pg_catalog.pg_class WHERE oid = 'pg_catalog.pg_attribute'::regclass) AS columns,
       (SELECT greatest(reltuples, 0)::bigint FROM pg_catalog.pg_class WHERE oid = 'pg_catalog.pg_description'::regclass);


-- name: catalogs
-- What pg_dump reads of every database, or the other parts do, and every role may, unless a superuser took it from them. It reads no
-- catalog itself, since each may be the closed one, and comes before what does. One that the server does not have is not closed.
-- Of pg_subscription every role sees some columns; the others hold passwords.
SELECT 'catalog_select' AS code, 'fatal' AS severity, 'pg_catalog.' || c AS object,
       'the credential has no SELECT on this catalog, which is every role''s unless it was taken from them' AS detail,
       'GRANT SELECT ' || CASE c WHEN 'pg_subscription' THEN '(subname, subdbid) ' ELSE '' END || 'ON pg_catalog.' || c || ' TO ' || pg_catalog.quote_ident(session_user::text) || ';' AS fix
  FROM (SELECT 'pg_' || pg_catalog.unnest(ARRAY[
                  'aggregate','am','amop','amproc','attribute','auth_members','cast','class','collation','constraint','conversion',
                  'database','db_role_setting','default_acl','depend','description','event_trigger','extension','foreign_data_wrapper',
                  'foreign_server','foreign_table','index','inherits','init_privs','language','largeobject_metadata','namespace',
                  'opclass','operator','opfamily','parameter_acl','partitioned_table','policy','proc','publication',
                  'publication_namespace','publication_rel','range','rewrite','roles','seclabel','seclabels','settings','shdepend',
                  'shdescription','shseclabel','statistic_ext','subscription','tablespace','transform','trigger','ts_config',
                  'ts_dict','ts_parser','ts_template','type','user_mappings']) AS c) c
 WHERE NOT pg_catalog.has_any_column_privilege(pg_catalog.to_regclass('pg_catalog.' || c)::oid, 'SELECT')
   AND c <> CASE WHEN current_setting('server_version_num')::int < 150000 THEN 'pg_seclabels' ELSE 'pg_seclabel' END -- pg_dump reads one of them
 ORDER BY c;


-- name: write_powers
WITH
me AS (
    SELECT oid, rolname, rolsuper, quote_ident(rolname) AS name FROM pg_catalog.pg_roles WHERE rolname = session_user
), reach AS MATERIALIZED (
    -- every role this session can act as: itself, inherited and by SET ROLE, and pg_database_owner where it owns the
    -- database. 'MEMBER' ignores the INHERIT and SET options of 16 and later, which errs on the strict side. A superuser
    -- is a member of all, which goes without saying.
    SELECT r.*, quote_ident(r.rolname) AS name, r.oid = me.oid AS self
      FROM pg_catalog.pg_roles r, me
     WHERE r.oid = me.oid OR NOT me.rolsuper AND pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER')
), grantee AS MATERIALIZED (   -- whom a grant must name to be one to this session
    SELECT oid, name, 'the credential' || CASE WHEN self THEN '' ELSE ', as ' || name || ',' END AS who FROM reach WHERE NOT rolsuper
    UNION ALL SELECT 0, 'PUBLIC', 'every role'
), granted AS (   -- every grant on anything, but to owners: these are found by what they own
    SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind, CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END AS word,
           pg_catalog.format('%I.%I', n.nspname, c.relname) AS object, c.relowner AS owner, c.relacl AS acl
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r','p','v','m','f','S') AND c.relacl IS NOT NULL AND NOT pg_catalog.pg_is_other_temp_schema(n.oid)
       -- PUBLIC may update pg_settings by design: that only calls set_config
       AND NOT (n.nspname = 'pg_catalog' AND c.relname = 'pg_settings')
    UNION ALL
    SELECT 'column', '', pg_catalog.format('%I.%I', n.nspname, c.relname), c.relowner, a.attacl
      FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT 'large object', 'LARGE OBJECT ', oid::text, lomowner, lomacl FROM pg_catalog.pg_largeobject_metadata WHERE lomacl IS NOT NULL
    UNION ALL
    SELECT 'schema', 'SCHEMA ', quote_ident(nspname), nspowner, nspacl FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(temp|toast)'
    UNION ALL
    SELECT 'database', 'DATABASE ', quote_ident(datname), datdba, datacl FROM pg_catalog.pg_database WHERE datallowconn
    UNION ALL
    SELECT 'tablespace', 'TABLESPACE ', quote_ident(spcname), spcowner, spcacl FROM pg_catalog.pg_tablespace
    UNION ALL
    SELECT 'server', 'FOREIGN SERVER ', quote_ident(srvname), srvowner, srvacl FROM pg_catalog.pg_foreign_server
    UNION ALL
    SELECT 'foreign data wrapper', 'FOREIGN DATA WRAPPER ', quote_ident(fdwname), fdwowner, fdwacl FROM pg_catalog.pg_foreign_data_wrapper
    UNION ALL
    SELECT 'language', 'LANGUAGE ', quote_ident(lanname), lanowner, lanacl FROM pg_catalog.pg_language
    UNION ALL
    SELECT 'type', 'TYPE ', pg_catalog.format('%I.%I', n.nspname, t.typname), t.typowner, t.typacl
      FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typacl IS NOT NULL
    UNION ALL   -- what PostgreSQL or an extension keeps from PUBLIC: whom it names itself, such as pg_monitor, is meant
    SELECT CASE WHEN k.kept THEN 'restricted function' ELSE 'function' END, 'ROUTINE ',
           pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), p.proowner,
           CASE WHEN k.kept THEN (SELECT array_agg(a) FROM unnest(p.proacl) a WHERE NOT a = ANY (i.initprivs)) ELSE p.proacl END
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = 'pg_catalog.pg_proc'::regclass AND i.objoid = p.oid AND i.objsubid = 0
     CROSS JOIN LATERAL (SELECT i.initprivs IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(i.initprivs) a WHERE a.grantee = 0) AS kept) k
     WHERE p.proacl IS NOT NULL
), power AS (
    SELECT g.*, a.privilege_type AS privilege, e.name, e.who,
           CASE WHEN g.kind = 'table' AND a.privilege_type IN ('INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER','MAINTAIN') THEN 'table_write'
                WHEN g.kind = 'column' AND a.privilege_type IN ('INSERT','UPDATE','REFERENCES') THEN 'column_write'
                WHEN g.kind = 'sequence' AND a.privilege_type IN ('USAGE','UPDATE') THEN 'sequence_write'
                WHEN g.kind = 'large object' AND a.privilege_type = 'UPDATE' THEN 'large_object_write'
                WHEN g.kind IN ('schema','database','tablespace') AND a.privilege_type = 'CREATE' THEN g.kind || '_create'
                WHEN g.kind = 'server' THEN 'foreign_server'
                WHEN g.kind = 'foreign data wrapper' THEN 'foreign_data_wrapper'
                WHEN g.kind = 'restricted function' THEN 'restricted_function'
                WHEN a.is_grantable THEN 'grant_option' END AS code
      FROM granted g CROSS JOIN LATERAL pg_catalog.aclexplode(g.acl) a JOIN grantee e ON e.oid = a.grantee
     WHERE a.grantee <> g.owner
), findings AS (
    SELECT code, CASE WHEN code = 'foreign_server' OR code = 'sequence_write' AND privilege = 'USAGE'
                           OR code = 'restricted_function' AND (name = 'PUBLIC' OR object NOT LIKE 'pg\_catalog.%')
                           -- the default of databases made before 15
                           OR code = 'schema_create' AND object = 'public' AND name = 'PUBLIC' THEN 'review' ELSE 'deny' END AS severity,
           CASE WHEN kind = 'large object' THEN 'large object ' ELSE '' END || object AS object,
           min(who) || ' has ' || pg_catalog.string_agg(DISTINCT privilege, ', ')
           || CASE code WHEN 'grant_option' THEN ' with the right to grant it to others' WHEN 'column_write' THEN ' on single columns of it'
                        WHEN 'schema_create' THEN ': may make objects in this schema' WHEN 'database_create' THEN ': may make schemas and publications in this database'
                        WHEN 'restricted_function' THEN ' on this function, which PostgreSQL or its extension keeps from others'
                        WHEN 'foreign_data_wrapper' THEN ' on this foreign data wrapper, and so may make servers in this database'
                        WHEN 'sequence_write' THEN ' on this sequence and so may advance it; a dump needs SELECT only'
                        WHEN 'foreign_server' THEN ' on this foreign server, a way into another database' ELSE ' on it' END AS detail,
           'REVOKE ' || CASE WHEN code = 'grant_option' THEN 'GRANT OPTION FOR ' ELSE '' END || pg_catalog.string_agg(DISTINCT privilege, ', ')
           || ' ON ' || word || object || ' FROM ' || name || ';' AS fix
      FROM power WHERE code IS NOT NULL GROUP BY code, 2, kind, word, object, name
    UNION ALL
    SELECT 'session_is_another_role', 'deny', quote_ident(current_user),
           'the session runs as this role, and not as the one that logged in (ALTER ROLE or ALTER DATABASE … SET role)',
           COALESCE((SELECT pg_catalog.string_agg(CASE WHEN g.setrole = 0 AND g.setdatabase <> 0 THEN 'ALTER DATABASE ' || quote_ident(current_database())
                       ELSE 'ALTER ROLE ' || CASE g.setrole WHEN 0 THEN 'ALL' ELSE quote_ident(session_user) END
                            || CASE g.setdatabase WHEN 0 THEN '' ELSE ' IN DATABASE ' || quote_ident(current_database()) END END || ' RESET role;', E'\n')
                       FROM pg_catalog.pg_db_role_setting g
                      WHERE g.setrole IN (0, (SELECT oid FROM me)) AND g.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
                        AND EXISTS (SELECT 1 FROM unnest(g.setconfig) c WHERE c LIKE 'role=%')), '')
     WHERE session_user <> current_user
    UNION ALL
    -- role attributes are never inherited, but SET ROLE brings them
    SELECT 'role_attribute', 'deny', r.name, 'the role has ' || pg_catalog.concat_ws(', ', a.super, a.role, a.db, a.rep),
           CASE WHEN r.self THEN 'ALTER ROLE ' || r.name || pg_catalog.concat_ws('', ' NO' || a.super, ' NO' || a.role, ' NO' || a.db, ' NO' || a.rep) || ';' ELSE '' END
      FROM reach r CROSS JOIN LATERAL (SELECT CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                                              CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END) a (super, role, db, rep)
     WHERE r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
    UNION ALL
    -- memberships; what they bring is judged above and below. Predefined roles are allowed where they only read.
    SELECT CASE WHEN r.rolname ~ '^pg_' THEN 'predefined_role' ELSE 'member_of_role' END,
           CASE WHEN r.rolname ~ '^pg_' AND r.rolname <> 'pg_use_reserved_connections' THEN 'deny' ELSE 'review' END, r.name,
           CASE WHEN r.rolname ~ '^pg_' THEN 'a predefined role that the credential is a member of, for more than reading tables'
                ELSE 'the credential can act as this role; one that is for backups alone needs no such membership' END,
           CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_auth_members m WHERE m.roleid = r.oid AND m.member = me.oid)
                THEN 'REVOKE ' || r.name || ' FROM ' || me.name || ';' ELSE '' END
      FROM reach r, me
     WHERE NOT r.self AND r.rolname NOT IN ('pg_read_all_data','pg_read_all_settings','pg_read_all_stats','pg_stat_scan_tables','pg_monitor')
    UNION ALL
    SELECT 'admin_option', 'deny', quote_ident(g.rolname), 'the credential can make others members of this role',
           'REVOKE ADMIN OPTION FOR ' || quote_ident(g.rolname) || ' FROM ' || r.name || ';'
      FROM pg_catalog.pg_auth_members m JOIN reach r ON r.oid = m.member AND NOT r.rolsuper JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
     WHERE m.admin_option
    UNION ALL
    -- ownership of anything, in this or any database: pg_shdepend knows all
    SELECT 'owns_object', 'deny',
           CASE WHEN d.dbid IN (0, db.oid) THEN COALESCE(pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid), 'an object that is being dropped')
                ELSE pg_catalog.format('object %s in database with oid %s', d.objid, d.dbid) END,
           'owned by ' || r.name || '; an owner can change, drop and grant it',
           CASE WHEN r.self AND d.dbid IN (0, db.oid) AND db.datdba <> r.oid
                THEN 'REASSIGN OWNED BY ' || r.name || ' TO ' || quote_ident(pg_catalog.pg_get_userbyid(db.datdba)) || ';' ELSE '' END
      FROM pg_catalog.pg_shdepend d
      JOIN reach r ON r.oid = d.refobjid AND NOT r.rolsuper
      CROSS JOIN (SELECT oid, datdba FROM pg_catalog.pg_database WHERE datname = current_database()) db
     WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.deptype = 'o'
    UNION ALL
    -- what future objects will grant (ALTER DEFAULT PRIVILEGES)
    SELECT 'future_write', CASE WHEN w.write OR a.is_grantable THEN 'deny' ELSE 'review' END,
           pg_catalog.format('new %s made by %I%s', lower(k.kind), o.rolname, COALESCE(' in ' || quote_ident(n.nspname), '')),
           e.who || ' will have ' || a.privilege_type || ' on them' || CASE WHEN a.is_grantable THEN ' with the right to grant it to others' ELSE '' END || ', by default privileges',
           pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s REVOKE %s%s ON %s FROM %s;', o.rolname, COALESCE(' IN SCHEMA ' || quote_ident(n.nspname), ''),
                             CASE WHEN w.write OR w.advance THEN '' ELSE 'GRANT OPTION FOR ' END, a.privilege_type, k.kind, e.name)
      FROM pg_catalog.pg_default_acl d
      JOIN pg_catalog.pg_roles o ON o.oid = d.defaclrole
      JOIN (VALUES ('r', 'TABLES'), ('S', 'SEQUENCES'), ('n', 'SCHEMAS'), ('L', 'LARGE OBJECTS'), ('f', 'FUNCTIONS'), ('T', 'TYPES')) k (type, kind) ON k.type = d.defaclobjtype
      LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
      CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) a
      CROSS JOIN LATERAL (SELECT a.privilege_type IN ('INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER','MAINTAIN','CREATE'),
                                 d.defaclobjtype = 'S' AND a.privilege_type = 'USAGE') w (write, advance)
      JOIN grantee e ON e.oid = a.grantee
     WHERE a.grantee <> d.defaclrole AND (w.write OR w.advance OR a.is_grantable)
    UNION ALL
    -- grants in other databases of the server: what they are is seen only from there
    SELECT 'other_database', 'review', quote_ident(db.datname), 'the credential has rights on ' || count(*) || ' objects of this other database; which, is not seen from here', ''
      FROM pg_catalog.pg_shdepend d JOIN reach r ON r.oid = d.refobjid AND NOT r.rolsuper JOIN pg_catalog.pg_database db ON db.oid = d.dbid
     WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.deptype = 'a' AND db.datname <> current_database()
     GROUP BY db.datname
    UNION ALL
    -- functions that act with somebody else's rights: their owner's, or those of the server's own user, as whatever is
    -- written in an untrusted language can (C is what extensions are written in; theirs is theirs to judge). Whether the
    -- credential may use their schema is beside the point, since a view, an operator or a cast brings them to it. So does an
    -- aggregate, for which its owner's right to them counts; and one that is for triggers is fired by a trigger on a temporary
    -- table, which is the credential's own. Heroku's own are Heroku's to judge.
    SELECT CASE WHEN p.prosecdef THEN 'security_definer' ELSE 'untrusted_function' END, CASE WHEN n.nspname IN ('_heroku','heroku_ext') AND o.rolsuper THEN 'info' ELSE 'review' END,
           f.name, CASE WHEN p.prosecdef THEN 'runs with the rights of ' || quote_ident(o.rolname)
                        ELSE 'is written in ' || quote_ident(l.lanname) || ', in which it can do whatever the server itself can' END
                   || CASE WHEN f.fires THEN ', and the credential may have a trigger on a temporary table of its own call it'
                           WHEN f.called THEN ', and the credential may call it' ELSE ', and an aggregate that the credential may use calls it' END,
           -- an application may need what every role may do, but for triggers: they go on without a right to their function
           COALESCE((SELECT pg_catalog.string_agg('REVOKE EXECUTE ON ROUTINE ' || f.name || ' FROM ' || g.name || ';', E'\n')
                       FROM pg_catalog.aclexplode(COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
                       JOIN grantee g ON g.oid = a.grantee AND (g.oid <> 0 OR f.fires)), '')
      FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_catalog.pg_roles o ON o.oid = p.proowner
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang
      CROSS JOIN me
      CROSS JOIN LATERAL (SELECT pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) AS name,
                                 p.prorettype = 'pg_catalog.trigger'::regtype AS fires,
                                 EXISTS (SELECT 1 FROM reach r WHERE NOT r.rolsuper AND pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE')) AS called) f
     WHERE p.prorettype <> 'pg_catalog.event_trigger'::regtype AND p.prokind <> 'a' -- an aggregate is what it calls
       AND p.oid >= 16384 -- not PostgreSQL's own
       AND (p.prosecdef OR NOT l.lanpltrusted AND NOT (l.lanname IN ('c','internal') AND EXISTS (
             SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')))
       AND p.proowner NOT IN (SELECT oid FROM reach)
       AND NOT me.rolsuper
       AND CASE WHEN f.fires THEN f.called AND EXISTS (SELECT 1 FROM reach r WHERE NOT r.rolsuper AND pg_catalog.has_database_privilege(r.oid, current_database(), 'TEMP'))
                ELSE f.called OR EXISTS (
                    SELECT 1 FROM pg_catalog.pg_aggregate g JOIN reach r ON NOT r.rolsuper AND pg_catalog.has_function_privilege(r.oid, g.aggfnoid, 'EXECUTE')
                     WHERE p.oid IN (g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, g.aggdeserialfn, g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn)) END
    UNION ALL
    SELECT x.code, x.severity, x.object, x.detail, x.fix
      FROM me CROSS JOIN LATERAL (VALUES
           ('bypassrls', 'info', me.name, 'the role passes row security: it reads every row', '',
            NOT me.rolsuper AND EXISTS (SELECT 1 FROM reach r WHERE r.rolbypassrls)),
           ('large_object_write', 'deny', 'all large objects', 'the setting lo_compat_privileges is on, with which every role may write them',
            'ALTER ROLE ' || me.name || ' SET lo_compat_privileges = off;', current_setting('lo_compat_privileges') = 'on'),
           -- What every login role has; only what we do with the session keeps it unused. A prepared transaction that is
           -- forgotten keeps its locks, and VACUUM back, for ever.
           ('temp_tables', 'inherent', me.name || ' in database ' || quote_ident(current_database()), 'may create temporary tables: its own, gone when it disconnects', '',
            pg_catalog.has_database_privilege(me.oid, current_database(), 'TEMP')),
           ('create_large_objects', 'inherent', me.name || ' in database ' || quote_ident(current_database()),
            'may create new large objects; only servers from 16 on refuse that in a READ ONLY transaction', '',
            pg_catalog.has_function_privilege(me.oid, 'pg_catalog.lo_from_bytea(oid,bytea)', 'EXECUTE')),
           ('prepare_transaction', 'inherent', me.name || ' in database ' || quote_ident(current_database()),
            'may leave prepared transactions behind (max_prepared_transactions is above 0)', '', current_setting('max_prepared_transactions')::int > 0)
           ) x (code, severity, object, detail, fix, so)
     WHERE x.so
)
SELECT code, severity, left(object, 1000), left(detail, 1000), left(fix, 4000)
  FROM (SELECT f.*, row_number() OVER (PARTITION BY code ORDER BY severity, object, detail) AS nth FROM (SELECT DISTINCT * FROM findings) f) f
 WHERE nth <= 101
 ORDER BY array_position(ARRAY['deny','review','inherent','info'], severity), code, nth;


-- name: parameter_powers
-- From 15 on (pg_parameter_acl). Whoever can SET what is the superuser's, or ALTER SYSTEM, has no read-only credential.
SELECT 'parameter' AS code, 'deny' AS severity, left(p.parname, 1000) AS object,
       CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END || ' has ' || a.privilege_type || ' on this server parameter' AS detail,
       pg_catalog.format('REVOKE %s ON PARAMETER %I FROM %s;', a.privilege_type, p.parname, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END) AS fix
  FROM pg_catalog.pg_parameter_acl p
 CROSS JOIN LATERAL pg_catalog.aclexplode(p.paracl) a
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
 WHERE a.grantee = 0 OR pg_catalog.pg_has_role(session_user, a.grantee, 'MEMBER') AND NOT r.rolsuper
 ORDER BY 3, 4 LIMIT 101;


-- name: read_gaps
-- Without the schemas that pgdump leaves out.
WITH
me AS (
    SELECT r.oid, r.rolsuper, quote_ident(r.rolname) AS name FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
), all_reader AS (   -- pg_read_all_data is there from 14 on
    SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolname = 'pg_read_all_data' AND pg_catalog.pg_has_role(current_user, r.oid, 'USAGE')) AS yes
), ns AS (
    SELECT n.oid, n.nspname, quote_ident(n.nspname) AS name FROM pg_catalog.pg_namespace n
     WHERE n.nspname NOT IN ('pg_catalog','information_schema','_heroku','heroku_ext') AND n.nspname !~ '^pg_'
), ext AS (          -- members of extensions: pg_dump writes CREATE EXTENSION instead …
    SELECT d.objid FROM pg_catalog.pg_depend d
     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'e'
), extcfg AS (       -- … but for their configuration tables, whose rows it dumps
    SELECT unnest(e.extconfig) AS objid FROM pg_catalog.pg_extension e
), identity AS (     -- an identity's sequence is dumped where its table is
    SELECT d.objid, d.refobjid AS of FROM pg_catalog.pg_depend d
     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'i'
       AND EXISTS (SELECT 1 FROM pg_catalog.pg_class s WHERE s.oid = d.objid AND s.relkind = 'S')
), rel AS MATERIALIZED (
    SELECT c.oid, c.relkind, c.relowner, c.relnamespace, c.relpersistence, c.relrowsecurity,
           pg_catalog.format('%I.%I', ns.nspname, c.relname) AS name, ns.nspname,
           EXISTS (SELECT 1 FROM ext WHERE ext.objid = c.oid) AS ext_any,
           (EXISTS (SELECT 1 FROM ext WHERE ext.objid IN (c.oid, identity.of))
            AND NOT EXISTS (SELECT 1 FROM extcfg WHERE extcfg.objid = c.oid)) AS ext_member
      FROM pg_catalog.pg_class c JOIN ns ON ns.oid = c.relnamespace LEFT JOIN identity ON identity.objid = c.oid
     WHERE c.relkind IN ('r','p','S','f')
), closed AS MATERIALIZED (   -- what cannot be read, and how much of its schema that is
    SELECT rel.*, count(*) OVER same AS n,
           min(rel.relowner) OVER same = max(rel.relowner) OVER same
           AND NOT EXISTS (SELECT 1 FROM rel o WHERE o.relnamespace = rel.relnamespace AND o.relowner <> rel.relowner) AS one_owner
      FROM rel
     WHERE NOT rel.ext_member
       AND CASE WHEN rel.relkind = 'S' THEN NOT pg_catalog.has_sequence_privilege(current_user, rel.oid, 'SELECT')
                WHEN rel.relkind IN ('r','p') THEN NOT pg_catalog.has_table_privilege(current_user, rel.oid, 'SELECT')
                ELSE false END
    WINDOW same AS (PARTITION BY rel.relnamespace, rel.relkind = 'S')
), rls AS MATERIALIZED (   -- tables on which a policy filters what this role reads; pg_dump reads partitions, not their parent
    SELECT rel.name, rel.relowner,
           EXISTS (SELECT 1 FROM pg_catalog.pg_policy p
                    WHERE p.polrelid = rel.oid AND p.polcmd IN ('r','*') AND p.polpermissive
                      AND (0 = ANY (p.polroles) OR EXISTS (SELECT 1 FROM unnest(p.polroles) q WHERE q <> 0 AND pg_catalog.pg_has_role(current_user, q, 'USAGE')))
                      AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) = 'true') AS open_policy,
           EXISTS (SELECT 1 FROM pg_catalog.pg_policy p
                    WHERE p.polrelid = rel.oid AND p.polcmd IN ('r','*') AND NOT p.polpermissive
                      AND (0 = ANY (p.polroles) OR EXISTS (SELECT 1 FROM unnest(p.polroles) q WHERE q <> 0 AND pg_catalog.pg_has_role(current_user, q, 'USAGE')))) AS restrictive_policy
      FROM rel
     WHERE rel.relkind = 'r' AND rel.relrowsecurity AND NOT rel.ext_member
       AND pg_catalog.row_security_active(rel.oid)
), lo AS MATERIALIZED (
    SELECT l.oid, count(*) OVER () AS n, row_number() OVER (ORDER BY l.oid) AS nth
      FROM pg_catalog.pg_largeobject_metadata l, me
     WHERE NOT me.rolsuper
       AND current_setting('lo_compat_privileges') = 'off'
       AND NOT pg_catalog.pg_has_role(current_user, l.lomowner, 'USAGE')
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(l.lomacl) a
                        WHERE a.privilege_type = 'SELECT'
                          AND (a.grantee = 0 OR pg_catalog.pg_has_role(current_user, a.grantee, 'USAGE')))
), makers AS (   -- whose new tables and sequences would not be readable
    SELECT DISTINCT o.oid, quote_ident(o.rolname) AS name, rel.relnamespace, quote_ident(rel.nspname) AS schema
      FROM rel JOIN pg_catalog.pg_roles o ON o.oid = rel.relowner, me, all_reader
     WHERE rel.relkind IN ('r','p') AND NOT rel.ext_any AND NOT me.rolsuper AND NOT all_reader.yes
       AND NOT pg_catalog.pg_has_role(current_user, rel.relowner, 'USAGE')
), findings AS (
    SELECT 'schema_usage' AS code, 'fatal' AS severity, ns.name AS object, 'the credential has no USAGE on this schema' AS detail,
           'GRANT USAGE ON SCHEMA ' || ns.name || ' TO ' || me.name || ';' AS fix
      FROM ns, me
     WHERE NOT pg_catalog.has_schema_privilege(current_user, ns.oid, 'USAGE')
       AND ns.oid IN (SELECT relnamespace FROM rel WHERE rel.relkind IN ('r','p','S') AND NOT rel.ext_member)
    UNION ALL
    -- pg_dump locks every table, for which SELECT on columns does not do
    SELECT k.kind || '_select', 'fatal', c.name, 'the credential has no SELECT on this ' || k.kind,
           'GRANT SELECT ON ' || CASE WHEN c.n > 10 AND c.one_owner THEN 'ALL ' || upper(k.kind) || 'S IN SCHEMA ' || quote_ident(c.nspname)
                                      WHEN k.kind = 'sequence' THEN 'SEQUENCE ' || c.name ELSE c.name END || ' TO ' || me.name || ';'
      FROM closed c, me, LATERAL (SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind) k
    UNION ALL
    SELECT 'large_object_select', 'fatal', CASE WHEN lo.n > 10 THEN lo.n || ' large objects' ELSE 'large object ' || lo.oid END, 'the credential has no SELECT on it',
           CASE WHEN lo.n > 10 THEN 'DO ' || quote_literal('DECLARE l oid; BEGIN FOR l IN SELECT oid FROM pg_largeobject_metadata WHERE pg_has_role(lomowner, ''USAGE'') LOOP '
                || 'EXECUTE format(''GRANT SELECT ON LARGE OBJECT %s TO %I'', l, ' || quote_literal(current_user) || '); END LOOP; END') || ';'
                ELSE 'GRANT SELECT ON LARGE OBJECT ' || lo.oid || ' TO ' || me.name || ';' END
      FROM lo, me WHERE lo.n <= 10 OR lo.nth = 1
    UNION ALL
    -- what every role may do unless it was taken from them, as together with the making of large objects
    SELECT 'function_execute', 'fatal', p.oid::regprocedure::text, 'the credential has no EXECUTE on this function, with which pg_dump reads large objects',
           'GRANT EXECUTE ON FUNCTION pg_catalog.' || p.oid::regprocedure || ' TO ' || me.name || ';'
      FROM pg_catalog.pg_proc p, me
     WHERE p.oid IN ('pg_catalog.lo_open(oid,int4)'::regprocedure, 'pg_catalog.loread(int4,int4)'::regprocedure, 'pg_catalog.lo_close(int4)'::regprocedure)
       AND NOT pg_catalog.has_function_privilege(current_user, p.oid, 'EXECUTE') AND EXISTS (SELECT 1 FROM pg_catalog.pg_largeobject_metadata)
    UNION ALL
    -- what pg_dump reads only where there is something in it; see catalogs
    SELECT 'catalog_select', 'fatal', 'pg_catalog.' || c.name, 'the credential has no SELECT on this catalog, which is every role''s unless it was taken from them',
           'GRANT SELECT ON pg_catalog.' || c.name || ' TO ' || me.name || ';'
      FROM me, (VALUES ('pg_attrdef'), ('pg_enum'), ('pg_sequence'), ('pg_ts_config_map')) c (name)
     WHERE NOT pg_catalog.has_any_column_privilege(pg_catalog.to_regclass('pg_catalog.' || c.name)::oid, 'SELECT')
       AND CASE c.name
           WHEN 'pg_attrdef' THEN EXISTS (SELECT 1 FROM rel JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid WHERE a.atthasdef)
           WHEN 'pg_enum' THEN EXISTS (SELECT 1 FROM pg_catalog.pg_type t JOIN ns ON ns.oid = t.typnamespace WHERE t.typtype = 'e')
           WHEN 'pg_sequence' THEN EXISTS (SELECT 1 FROM rel WHERE rel.relkind = 'S') OR current_setting('server_version_num')::int >= 180000
           ELSE EXISTS (SELECT 1 FROM pg_catalog.pg_ts_config t JOIN ns ON ns.oid = t.cfgnamespace) END
    UNION ALL
    -- row security. Plain pg_dump refuses such a table, which is good; with --enable-row-security it reads what the
    -- policies show. Only where each of them is open is that everything.
    SELECT CASE WHEN rls.open_policy AND NOT rls.restrictive_policy THEN 'row_security_open' ELSE 'row_security' END,
           CASE WHEN rls.open_policy AND NOT rls.restrictive_policy THEN 'info' ELSE 'fatal' END, rls.name,
           CASE WHEN rls.restrictive_policy THEN 'row security holds for the credential, and a RESTRICTIVE policy can hide rows from it'
                WHEN rls.open_policy THEN 'row security holds for the credential, and a policy shows it every row'
                ELSE 'row security hides rows of this table from the credential' END,
           CASE WHEN rls.restrictive_policy OR rls.open_policy THEN ''
                ELSE 'CREATE POLICY remora_read ON ' || rls.name || ' FOR SELECT TO ' || me.name || ' USING (true);' END
      FROM rls, me
    UNION ALL
    -- what pg_dump leaves out although it ends well
    SELECT 'subscription', 'partial', quote_ident(s.subname), 'only a superuser can dump a subscription, so it is not in the archive', ''
      FROM pg_catalog.pg_subscription s, me
     WHERE NOT me.rolsuper
       AND s.subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    UNION ALL
    SELECT CASE rel.relkind WHEN 'f' THEN 'foreign_table' ELSE 'unlogged_on_standby' END, CASE rel.relkind WHEN 'f' THEN 'info' ELSE 'partial' END, rel.name,
           CASE rel.relkind WHEN 'f' THEN 'its definition only is in the archive; its rows lie on another server'
                ELSE 'what is unlogged cannot be read on a follower, so its contents are not in the archive' END, ''
      FROM rel
     WHERE NOT rel.ext_member AND (rel.relkind = 'f' OR rel.relpersistence = 'u' AND rel.relkind IN ('r','S') AND pg_catalog.pg_is_in_recovery())
    UNION ALL
    SELECT 'user_mapping', 'info', pg_catalog.format('%s on server %I', u.usename, u.srvname), 'its options, such as a password, are not shown to the credential and not in the archive', ''
      FROM pg_catalog.pg_user_mappings u, me
     WHERE NOT me.rolsuper AND u.umoptions IS NULL
    UNION ALL
    SELECT 'heroku_event_trigger', 'info', quote_ident(e.evtname), 'will not be in the archive: an event trigger of Heroku''s own, which every Heroku database has and nobody else could restore', ''
      FROM pg_catalog.pg_event_trigger e
      JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname IN ('_heroku','heroku_ext')
    UNION ALL
    -- will the next new table be readable?
    SELECT k.code, 'future', pg_catalog.format('new %s of %s in schema %s', lower(k.kind), m.name, m.schema),
           'the credential will have no SELECT on them, and the backup after that will fail',
           pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA %s GRANT SELECT ON %s TO %s;', m.name, m.schema, k.kind, me.name)
      FROM makers m CROSS JOIN me CROSS JOIN (VALUES ('r', 'TABLES', 'no_default_select'), ('S', 'SEQUENCES', 'no_default_sequence_select')) k (type, kind, code)
     WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
                        WHERE d.defaclrole = m.oid AND d.defaclobjtype = k.type AND d.defaclnamespace IN (0, m.relnamespace)
                          AND a.privilege_type = 'SELECT'
                          AND (a.grantee = 0 OR pg_catalog.pg_has_role(current_user, a.grantee, 'USAGE')))
)
SELECT code, severity, left(object, 1000), left(detail, 1000), left(fix, 4000)
  FROM (SELECT f.*, row_number() OVER (PARTITION BY code ORDER BY object) AS nth FROM findings f) f
 WHERE nth <= 101
 ORDER BY array_position(ARRAY['fatal','partial','future','info'], severity), code, nth;


-- name: inventory
-- What objects there are, by kind: their number, and SHA-256 of their sorted identities. On a server of another role,
-- encoding or search path it comes out the same for a restored copy. It is without members of extensions, without
-- Heroku's own, without what pg_dump leaves out because another object brings it along, and without what belongs to a
-- foreign table, so that a copy that could not have the foreign tables differs in that kind alone.
WITH
ns AS MATERIALIZED (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
     WHERE n.nspname NOT IN ('pg_catalog','information_schema','_heroku','heroku_ext') AND n.nspname !~ '^pg_'
), ext AS MATERIALIZED (
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::regclass
), rel AS MATERIALIZED (
    SELECT c.oid, c.relkind, c.reltype, pg_catalog.format('%I.%I', ns.nspname, c.relname) AS name
      FROM pg_catalog.pg_class c JOIN ns ON ns.oid = c.relnamespace
     WHERE c.relkind IN ('r','p','v','m','f','S','c')
       AND NOT EXISTS (SELECT 1 FROM ext WHERE ext.classid = 'pg_catalog.pg_class'::regclass AND ext.objid = c.oid)
), typ AS MATERIALIZED (
    SELECT t.oid, t.typtype, t.typbasetype, pg_catalog.format('%I.%I', ns.nspname, t.typname) AS name
      FROM pg_catalog.pg_type t JOIN ns ON ns.oid = t.typnamespace
     WHERE t.typtype IN ('b','d','e','r') AND t.typisdefined AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)
       AND NOT EXISTS (SELECT 1 FROM ext WHERE ext.classid = 'pg_catalog.pg_type'::regclass AND ext.objid = t.oid)
), objects AS (
    SELECT 'schema' AS kind, quote_ident(ns.nspname) AS identity FROM ns   -- public is there without a dump
     WHERE ns.nspname <> 'public' AND NOT EXISTS (SELECT 1 FROM ext WHERE ext.classid = 'pg_catalog.pg_namespace'::regclass AND ext.objid = ns.oid)
    UNION ALL
    SELECT 'extension', quote_ident(e.extname) FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
     WHERE n.nspname NOT IN ('_heroku','heroku_ext')
    UNION ALL
    SELECT CASE rel.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                            WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'composite type' END, rel.name FROM rel
    UNION ALL
    SELECT 'column', pg_catalog.format('%s.%I %s', rel.name, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod))
           || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || CASE WHEN a.atthasdef THEN ' default' ELSE '' END
           || ' ' || a.attidentity::text || a.attgenerated::text
      FROM rel JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid
     WHERE rel.relkind IN ('r','p','v','m','c') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'index', pg_catalog.format('%I on %s', i.relname, rel.name)
      FROM pg_catalog.pg_index x JOIN rel ON rel.oid = x.indrelid JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
     WHERE rel.relkind <> 'f' AND (x.indisvalid OR rel.relkind = 'p') AND x.indisready
    UNION ALL
    SELECT 'constraint', pg_catalog.format('%I %s on %s', c.conname, c.contype, rel.name)
      FROM pg_catalog.pg_constraint c JOIN rel ON rel.oid = c.conrelid
     WHERE rel.relkind <> 'f' AND c.conparentid = 0 AND c.contype IN ('c','f','p','u','x')
    UNION ALL
    SELECT 'constraint', pg_catalog.format('%I on domain %s', c.conname, typ.name)
      FROM pg_catalog.pg_constraint c JOIN typ ON typ.oid = c.contypid WHERE c.contype = 'c'
    UNION ALL
    SELECT 'trigger', pg_catalog.format('%I on %s %s', t.tgname, rel.name, t.tgenabled)
      FROM pg_catalog.pg_trigger t JOIN rel ON rel.oid = t.tgrelid
     WHERE rel.relkind <> 'f' AND NOT t.tgisinternal AND t.tgparentid = 0
    UNION ALL
    SELECT 'rule', pg_catalog.format('%I on %s', r.rulename, rel.name)
      FROM pg_catalog.pg_rewrite r JOIN rel ON rel.oid = r.ev_class WHERE r.rulename <> '_RETURN'
    UNION ALL
    SELECT 'policy', pg_catalog.format('%I on %s %s', p.polname, rel.name, p.polcmd)
      FROM pg_catalog.pg_policy p JOIN rel ON rel.oid = p.polrelid
    UNION ALL
    SELECT 'row security', rel.name || CASE WHEN c.relforcerowsecurity THEN ' forced' ELSE '' END
      FROM rel JOIN pg_catalog.pg_class c ON c.oid = rel.oid WHERE c.relrowsecurity
    UNION ALL
    SELECT 'statistics', pg_catalog.format('%I.%I', ns.nspname, s.stxname) FROM pg_catalog.pg_statistic_ext s
      JOIN ns ON ns.oid = s.stxnamespace JOIN rel ON rel.oid = s.stxrelid WHERE rel.relkind <> 'f'
    UNION ALL
    SELECT CASE typ.typtype WHEN 'd' THEN 'domain' WHEN 'e' THEN 'enum' WHEN 'r' THEN 'range' ELSE 'type' END,
           typ.name || CASE WHEN typ.typtype = 'd' THEN ' ' || pg_catalog.format_type(typ.typbasetype, NULL)
                            WHEN typ.typtype = 'e' THEN ' ' || COALESCE((SELECT pg_catalog.string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder)
                                                                          FROM pg_catalog.pg_enum e WHERE e.enumtypid = typ.oid), '') ELSE '' END
      FROM typ
    UNION ALL
    SELECT CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END,
           pg_catalog.format('%I.%I(%s)', ns.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid))
      FROM pg_catalog.pg_proc p JOIN ns ON ns.oid = p.pronamespace
     WHERE NOT EXISTS (SELECT 1 FROM ext WHERE ext.classid = 'pg_catalog.pg_proc'::regclass AND ext.objid = p.oid)
    UNION ALL
    SELECT o.kind, (pg_catalog.pg_identify_object(o.classid, o.oid, 0)).identity
      FROM (SELECT 'operator' AS kind, 'pg_catalog.pg_operator'::regclass AS classid, x.oid FROM pg_catalog.pg_operator x JOIN ns ON ns.oid = x.oprnamespace
             WHERE x.oprcode <> 0
            UNION ALL SELECT 'operator class', 'pg_catalog.pg_opclass'::regclass, x.oid FROM pg_catalog.pg_opclass x JOIN ns ON ns.oid = x.opcnamespace
            UNION ALL SELECT 'operator family', 'pg_catalog.pg_opfamily'::regclass, x.oid FROM pg_catalog.pg_opfamily x JOIN ns ON ns.oid = x.opfnamespace
            UNION ALL SELECT 'collation', 'pg_catalog.pg_collation'::regclass, x.oid FROM pg_catalog.pg_collation x JOIN ns ON ns.oid = x.collnamespace
            UNION ALL SELECT 'conversion', 'pg_catalog.pg_conversion'::regclass, x.oid FROM pg_catalog.pg_conversion x JOIN ns ON ns.oid = x.connamespace
            UNION ALL SELECT 'text search configuration', 'pg_catalog.pg_ts_config'::regclass, x.oid FROM pg_catalog.pg_ts_config x JOIN ns ON ns.oid = x.cfgnamespace
            UNION ALL SELECT 'text search dictionary', 'pg_catalog.pg_ts_dict'::regclass, x.oid FROM pg_catalog.pg_ts_dict x JOIN ns ON ns.oid = x.dictnamespace
            UNION ALL SELECT 'text search parser', 'pg_catalog.pg_ts_parser'::regclass, x.oid FROM pg_catalog.pg_ts_parser x JOIN ns ON ns.oid = x.prsnamespace
            UNION ALL SELECT 'text search template', 'pg_catalog.pg_ts_template'::regclass, x.oid FROM pg_catalog.pg_ts_template x JOIN ns ON ns.oid = x.tmplnamespace
            UNION ALL SELECT 'cast', 'pg_catalog.pg_cast'::regclass, x.oid FROM pg_catalog.pg_cast x WHERE x.oid >= 16384
                         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_range r WHERE r.rngtypid = x.castsource) -- a range's own, to its multirange
            UNION ALL SELECT 'transform', 'pg_catalog.pg_transform'::regclass, x.oid FROM pg_catalog.pg_transform x WHERE x.oid >= 16384
            UNION ALL SELECT 'procedural language', 'pg_catalog.pg_language'::regclass, x.oid FROM pg_catalog.pg_language x WHERE x.oid >= 16384
            UNION ALL SELECT 'access method', 'pg_catalog.pg_am'::regclass, x.oid FROM pg_catalog.pg_am x WHERE x.oid >= 16384
            UNION ALL SELECT 'foreign data wrapper', 'pg_catalog.pg_foreign_data_wrapper'::regclass, x.oid FROM pg_catalog.pg_foreign_data_wrapper x
            UNION ALL SELECT 'server', 'pg_catalog.pg_foreign_server'::regclass, x.oid FROM pg_catalog.pg_foreign_server x
            UNION ALL SELECT 'publication', 'pg_catalog.pg_publication'::regclass, x.oid FROM pg_catalog.pg_publication x
            UNION ALL SELECT 'event trigger', 'pg_catalog.pg_event_trigger'::regclass, x.oid FROM pg_catalog.pg_event_trigger x
                       WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                                          WHERE p.oid = x.evtfoid AND n.nspname IN ('_heroku','heroku_ext'))) o
     WHERE NOT EXISTS (SELECT 1 FROM ext WHERE ext.classid = o.classid AND ext.objid = o.oid)
    UNION ALL
    SELECT 'large object', oid::text FROM pg_catalog.pg_largeobject_metadata
)
SELECT kind, count(*), encode(sha256(convert_to(string_agg(identity, E'\n' ORDER BY identity COLLATE "C"),
                                      CASE WHEN getdatabaseencoding() = 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)), 'hex')
  FROM objects GROUP BY kind ORDER BY kind COLLATE "C";


-- name: witness
-- A fresh snapshot's: outside of the transaction that begin began.
SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text AS next_xid, pg_catalog.pg_is_in_recovery();


-- name: waiting
-- Who waits for what we hold: a lock of this session, or of one under our other name ($1), which is pg_dump's. Everybody
-- may see pg_locks, and of pg_stat_activity what is used here. pg_blocking_pids() takes the lock manager for a moment, so it is
-- asked of sessions that wait, and of no other. waitstart is there from 14 on. The last column counts also those who wait behind them.
WITH RECURSIVE ours AS (
    SELECT array_agg(pid) AS pids FROM pg_catalog.pg_stat_activity
     WHERE pid = pg_catalog.pg_backend_pid()
        OR application_name = $1 AND datname = pg_catalog.current_database()
       AND usesysid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)
), waits AS MATERIALIZED (
    SELECT l.pid, l.mode, (pg_catalog.to_jsonb(l) ->> 'waitstart')::timestamptz AS since, pg_catalog.pg_blocking_pids(l.pid) AS blockers,
           CASE WHEN l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) THEN l.relation END AS relation
      FROM pg_catalog.pg_locks l, ours
     WHERE NOT l.granted AND NOT l.pid = ANY (ours.pids)
), blocked AS (
    SELECT w.pid FROM waits w, ours WHERE w.blockers && ours.pids
    UNION SELECT w.pid FROM blocked b JOIN waits w ON b.pid = ANY (w.blockers)
)
SELECT pg_catalog.left(w.mode, 100), coalesce(pg_catalog.left(w.relation::regclass::text, 200), ''),
       coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - w.since), 0)::float8, (SELECT count(*) FROM blocked)
  FROM waits w, ours WHERE w.blockers && ours.pids ORDER BY 3 DESC LIMIT 1;


-- name: leave
SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
 WHERE application_name = $1 AND datname = pg_catalog.current_database() AND usesysid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)
   AND pid <> pg_catalog.pg_backend_pid();
