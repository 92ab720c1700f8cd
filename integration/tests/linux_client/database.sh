# database.sh FOLDER: SQLite with its rollback journal; its process is killed in the middle of a transaction.
set -eu
cd "$1"
sum="SELECT count(*), sum(balance) FROM account; PRAGMA integrity_check;"
right="$(printf '2000|200000\nok')"

sqlite3 bank.db <<END
PRAGMA journal_mode = DELETE;
PRAGMA synchronous = FULL;
CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, note TEXT NOT NULL);
CREATE INDEX by_balance ON account (balance, id);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO account SELECT i, 100, hex(randomblob(60)) FROM n;
END
test "$(sqlite3 bank.db "$sum")" = "$right"

# Transfers, each its own transaction with its own journal; every fifth is taken back.
for i in $(seq 100); do
    end=COMMIT
    [ $((i % 5)) -ne 0 ] || end=ROLLBACK
    echo "BEGIN; UPDATE account SET balance = balance - $i WHERE id = $i;"
    echo "UPDATE account SET balance = balance + $i WHERE id = 2000 - $i; $end;"
done | sqlite3 bank.db
test "$(sqlite3 bank.db "$sum")" = "$right"
test "$(sqlite3 bank.db 'SELECT count(*) FROM account WHERE balance <> 100')" -eq 160

# So little cache that the transaction is in the file before it ends. It never does.
cp bank.db before.db
mkfifo /tmp/statements
sqlite3 bank.db </tmp/statements &
writer=$!
exec 3>/tmp/statements
echo "PRAGMA cache_size = 5; BEGIN; UPDATE account SET balance = 0, note = 'lost';" >&3
while cmp -s before.db bank.db; do usleep 100000; done
kill -9 $writer
wait $writer || true
exec 3>&-
test -s bank.db-journal
test "$(sqlite3 bank.db "$sum")" = "$right"
test ! -e bank.db-journal
test "$(sqlite3 before.db .dump | sha256sum)" = "$(sqlite3 bank.db .dump | sha256sum)"
sqlite3 bank.db "DELETE FROM account WHERE id % 2 = 0; VACUUM; PRAGMA integrity_check;"
test "$(sqlite3 bank.db 'SELECT count(*) FROM account')" -eq 1000
echo "the database is content"
