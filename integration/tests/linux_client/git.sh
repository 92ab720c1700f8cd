# git.sh FOLDER: what git does to a file system: many small files, renames, hard links, removals.
set -eu
cd "$1"
cat >"$HOME/.gitconfig" <<END
[user]
    name = Test
    email = test@example.org
[gc]
    auto = 0
[advice]
    detachedHead = false
END

# round N: changes every file of a third of the folders, renames a folder, removes another, commits.
round() {
    for i in $(seq 0 16); do mkdir -p "d$i"; done
    for i in $(seq "$1" 3 150); do
        echo "round $1, file $i" >"d$((i % 17))/f$i"
    done
    if [ "$1" -gt 1 ]; then
        git mv "d$1" "renamed-$1"
        git rm -rq "d1$1"
    fi
    git add -A
    git commit -qm "round $1"
}

git init -q -b main origin
cd origin
for number in 1 2 3; do round $number; done
test -z "$(git status --porcelain)"
cd ..

# A clone within one file system shares objects by hard links.
git clone -q origin clone
linked=$(find clone/.git/objects -type f -exec stat -c %h {} + | grep -c '^2$')
test "$linked" -gt 100
git -C clone fsck --full --strict --no-progress
git -C clone checkout -q HEAD~2
test "$(git -C clone ls-files | wc -l)" -eq 50
git -C clone checkout -q main
test -z "$(git -C clone status --porcelain)"

# Packed, the objects of the origin go; those of the clone stay.
git -C origin gc -q --prune=now
test "$(find origin/.git/objects -type f -name '*.pack' | wc -l)" -eq 1
git -C origin fsck --full --strict --no-progress
git -C clone fsck --full --strict --no-progress
git clone -q --no-hardlinks origin second
test "$(git -C clone rev-parse HEAD)" = "$(git -C second rev-parse HEAD)"
rm -rf clone/.git second/.git
diff -r clone second
rm -rf origin clone second
test -z "$(ls -A)"
echo "git is content"
