// Preloaded into User Mode Linux on processors with AMX, where the kernel 6.1 dies as soon as a process begins: it reads and
// writes a process's registers (PTRACE_GETREGSET, NT_X86_XSTATE, ptrace(2)) with a buffer that ends behind AVX-512, and the host
// takes only all of them (xstateregs_set, arch/x86/kernel/fpu/regset.c: -EFAULT). What is behind is left as it is.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

static long host(int request, pid_t pid, void *addr, void *data)
{
	static long (*next)(int, pid_t, void *, void *);
	if (!next)
		next = (long (*)(int, pid_t, void *, void *))dlsym(RTLD_NEXT, "ptrace");
	return next(request, pid, addr, data);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list words;
	va_start(words, request);
	pid_t pid = va_arg(words, pid_t);
	void *addr = va_arg(words, void *);
	void *data = va_arg(words, void *);
	va_end(words);
	if ((request != PTRACE_GETREGSET && request != PTRACE_SETREGSET) || addr != (void *)(long)NT_X86_XSTATE)
		return host(request, pid, addr, data);

	static __thread char all[32768] __attribute__((aligned(64)));
	struct iovec *some = data, whole = { all, sizeof(all) };
	long ended = host(PTRACE_GETREGSET, pid, addr, &whole);
	if (ended < 0)
		return ended;
	size_t length = some->iov_len < whole.iov_len ? some->iov_len : whole.iov_len;
	if (request == PTRACE_GETREGSET) {
		memcpy(some->iov_base, all, length);
		some->iov_len = length;
		return ended;
	}
	memcpy(all, some->iov_base, length);
	return host(PTRACE_SETREGSET, pid, addr, &whole);
}
