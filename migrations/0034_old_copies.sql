-- +goose Up

-- Each round of retention asks of whose keys the bucket has more than one copy; after a change of the master key all have, else none.
CREATE INDEX resources_old_copies ON resources (id) WHERE cardinality(key_copies) > 1;

-- +goose Down
DROP INDEX resources_old_copies;
