/*
 * For user-mode Linux (LD_PRELOAD) on a processor with AMX: it keeps a process's extended registers in 2,696
 * bytes, but Linux takes them by ptrace only whole, which is 11 KiB there, and answers EFAULT to fewer. Then the
 * bytes given are laid over the process's present whole, in which those beyond them stay as they are.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { PRESENT = 512, /* where 64 bits say which components are present; the rest are in their first state */
       COMPONENTS = 63 };

static long (*of_libc)(int, pid_t, void *, void *);
static unsigned char whole[64 * 1024]; /* user-mode Linux calls from one thread, on small stacks */

__attribute__((constructor)) static void find(void)
{
    of_libc = (long (*)(int, pid_t, void *, void *))dlsym(RTLD_NEXT, "ptrace");
}

/* The components that lie within so many bytes; the first two always do. */
static uint64_t within(size_t length)
{
    uint64_t components = 3;
    unsigned size, offset, unused, unused_too;
    for (int number = 2; number < COMPONENTS; number++) {
        __cpuid_count(13, number, size, offset, unused, unused_too);
        if (size && offset + size <= length)
            components |= (uint64_t)1 << number;
    }
    return components;
}

static long set_part(pid_t pid, void *set, const struct iovec *part)
{
    static uint64_t given;
    struct iovec all = {whole, sizeof whole};
    uint64_t before, after;
    if (of_libc(PTRACE_GETREGSET, pid, set, &all) < 0)
        return -1;
    if (part->iov_len < PRESENT + sizeof after || part->iov_len > all.iov_len) {
        errno = EFAULT;
        return -1;
    }
    if (!given)
        given = within(part->iov_len);
    memcpy(&before, whole + PRESENT, sizeof before);
    memcpy(whole, part->iov_base, part->iov_len);
    memcpy(&after, whole + PRESENT, sizeof after);
    after = (after & given) | (before & ~given);
    memcpy(whole + PRESENT, &after, sizeof after);
    return of_libc(PTRACE_SETREGSET, pid, set, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
    __builtin_va_list rest;
    __builtin_va_start(rest, request);
    pid_t pid = __builtin_va_arg(rest, pid_t);
    void *address = __builtin_va_arg(rest, void *);
    void *data = __builtin_va_arg(rest, void *);
    __builtin_va_end(rest);
    long done = of_libc(request, pid, address, data);
    if (done < 0 && errno == EFAULT && request == PTRACE_SETREGSET && (uintptr_t)address == NT_X86_XSTATE)
        return set_part(pid, address, data);
    return done;
}
