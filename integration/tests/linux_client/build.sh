# build.sh FOLDER: builds a program of several parts, and one more; runs both where they were built.
set -eu
cd "$1"
for i in 1 2 3 4 5 6 7 8; do
    printf '#include "parts.h"\nint part%d(int x) { return x + %d; }\n' "$i" "$i" >"part$i.c"
    echo "int part$i(int);" >>parts.h
    calls="${calls:-}part$i("
done
printf '#include "parts.h"\nint main(void) { return %s0%s; }\n' "$calls" "))))))))" >main.c
printf 'objects := $(patsubst %%.c,%%.o,$(sort $(wildcard *.c)))\n' >Makefile
printf 'program: $(objects)\n\tcc -o $@ $(objects)\n' >>Makefile
printf '%%.o: %%.c parts.h\n\tcc -c -o $@ $<\n' >>Makefile

make -s -j3
status=0
./program || status=$?
test $status -eq 36
# Times are good enough for make: nothing is built again, and then exactly what was changed.
make -q
echo '/* changed */' >>part5.c
test "$(make -n | wc -l)" -eq 2
make -n | grep -q 'cc -c -o part5.o part5.c'
make -s
make -q
touch parts.h
test "$(make -n | wc -l)" -eq 10

cc -std=gnu11 -o random_io /source/random_io.c
./random_io file /tmp/model 1 200
cmp file /tmp/model
# A program is mapped while it runs; a new one in its place is another file.
cp random_io other
./random_io file /tmp/model 2 400 >/tmp/printed &
running=$!
while ! grep -q operations /tmp/printed; do usleep 50000; done
mv program random_io
wait $running
tail -n 1 /tmp/printed
./other file /tmp/model 3 100
echo "the build is content"
