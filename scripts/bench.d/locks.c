/* The least that a scan of a lock directory can be: getdents64, openat, read, close; nothing is parsed. With `stat` the
 * least that a scan can be where nothing changed: getdents64, fstatat; nothing is compared.
 * locks DIR ROUNDS [stat] prints the nanoseconds of each round. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char names[256 * 1024], content[64 * 1024];

static long scan(const char *path, int only_stat)
{
    long files = 0, size;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -1;
    while ((size = syscall(SYS_getdents64, dir, names, sizeof names)) > 0)
        for (long at = 0; at < size;) {
            struct dirent64 *entry = (struct dirent64 *)(names + at);
            size_t length = strlen(entry->d_name);
            at += entry->d_reclen;
            if (length < 5 || strcmp(entry->d_name + length - 5, ".lock") != 0)
                continue;
            struct stat is;
            if (only_stat) {
                files += fstatat(dir, entry->d_name, &is, AT_SYMLINK_NOFOLLOW) == 0;
                continue;
            }
            int file = openat(dir, entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
            if (file < 0)
                continue;
            files += read(file, content, sizeof content) > 0;
            close(file);
        }
    close(dir);
    return files;
}

int main(int count, char **words)
{
    int only_stat = count == 4 && strcmp(words[3], "stat") == 0;
    if ((count != 3 && !only_stat) || scan(words[1], only_stat) < 0) {
        fprintf(stderr, "usage: locks DIR ROUNDS [stat]\n");
        return 1;
    }
    for (int round = 0; round < atoi(words[2]); round++) {
        struct timespec began, ended;
        clock_gettime(CLOCK_MONOTONIC, &began);
        scan(words[1], only_stat);
        clock_gettime(CLOCK_MONOTONIC, &ended);
        printf("%lld\n", (ended.tv_sec - began.tv_sec) * 1000000000LL + ended.tv_nsec - began.tv_nsec);
    }
    return 0;
}
