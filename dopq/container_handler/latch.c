/* The latch: `latch FILE COMMAND [ARGUMENT...]` waits until FILE is unlocked, then becomes the command if FILE says
 * something, and ends if it is empty.
 *
 * No library, no variables but on the stack. dopq/container_handler/latch_program.py has what scripts/compile_latch.py
 * makes of it. The search for the command is execvp(3)'s in glibc, what comes of a failure tini's (the init above it).
 */

typedef long word;

enum { AT_FDCWD = -100, READ_ONLY_CLOSED_ON_EXEC = 02000000, SHARED = 1 };
enum { ENOENT = 2, ENOEXEC = 8, EACCES = 13, ENODEV = 19, ENOTDIR = 20, ENAMETOOLONG = 36, ETIMEDOUT = 110, ESTALE = 116 };
enum { LONGEST_PATH = 4096, LONGEST_NAME = 255 };
enum { STILL_SHUT = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127, OTHERWISE = 1 };

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, EXECVE = 59, FLOCK = 73, EXIT = 231, OPENAT = 257 };
__asm__(".section .text.first\n.globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall run");

static word ask(word number, word a, word b, word c, word d)
{
    register word r10 __asm__("r10") = d;
    word answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return answer;
}
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, EXECVE = 221, FLOCK = 32, EXIT = 94, OPENAT = 56 };
__asm__(".section .text.first\n.globl _start\n_start: mov x0, sp\nbl run");

static word ask(word number, word a, word b, word c, word d)
{
    register word x8 __asm__("x8") = number;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#endif

static word length(const char *text)
{
    word count = 0;
    while (text[count])
        count++;
    return count;
}

static void say(const char *text) { ask(WRITE, 2, (word)text, length(text), 0); }

/* Become the file; a script without an interpreter's name is the shell's. Returns the error where it cannot be. */
static word become(char *file, char **command, char **environment)
{
    char *name = command[0], *before = command[-1];
    word error = -ask(EXECVE, (word)file, (word)command, (word)environment, 0);
    if (error != ENOEXEC)
        return error;
    command[-1] = "/bin/sh";
    command[0] = file;
    error = -ask(EXECVE, (word)command[-1], (word)(command - 1), (word)environment, 0);
    command[-1] = before;
    command[0] = name;
    return error;
}

static const char *search_path(char **environment)
{
    for (; *environment; environment++) {
        const char *entry = *environment;
        if (entry[0] == 'P' && entry[1] == 'A' && entry[2] == 'T' && entry[3] == 'H' && entry[4] == '=')
            return entry + 5;
    }
    return "/bin:/usr/bin";
}

static int has_slash(const char *name)
{
    while (*name && *name != '/')
        name++;
    return *name;
}

/* Become the first file of that name on the search path that can be run. Returns the error where there is none. */
static word find(char **command, char **environment)
{
    char file[LONGEST_PATH + LONGEST_NAME + 2];
    const char *name = command[0], *path = search_path(environment);
    word error = ENOENT, refused = 0, size = length(name);
    if (!size)
        return ENOENT;
    if (has_slash(name))
        return become(command[0], command, environment);
    if (size > LONGEST_NAME)
        return ENAMETOOLONG;
    for (;; path++) {
        word at = 0;
        while (*path && *path != ':') {
            if (at <= LONGEST_PATH)
                file[at++] = *path;
            path++;
        }
        if (at < LONGEST_PATH) {
            if (at)
                file[at++] = '/';
            for (word each = 0; each <= size; each++)
                file[at + each] = name[each];
            error = become(file, command, environment);
            if (error == EACCES)
                refused = error;
            else if (error != ENOENT && error != ENOTDIR && error != ENODEV && error != ESTALE && error != ETIMEDOUT)
                return error;
        }
        if (!*path)
            return refused ? refused : error;
    }
}

__attribute__((noreturn, used)) void run(word *stack)
{
    char **arguments = (char **)(stack + 1), **environment = arguments + stack[0] + 1;
    char **command = arguments + 2;
    char said;
    word file, error, status = OTHERWISE;
    file = ask(OPENAT, AT_FDCWD, (word)arguments[1], READ_ONLY_CLOSED_ON_EXEC, 0);
    if (ask(FLOCK, file, SHARED, 0, 0) || ask(READ, file, (word)&said, 1, 0) != 1)
        for (;;)
            ask(EXIT, STILL_SHUT, 0, 0, 0);
    error = find(command, environment);
    say("exec ");
    say(command[0]);
    if (error == ENOENT) {
        say(" failed: No such file or directory\n");
        status = NOT_FOUND;
    } else if (error == EACCES) {
        say(" failed: Permission denied\n");
        status = NOT_EXECUTABLE;
    } else
        say(" failed\n");
    for (;;)
        ask(EXIT, status, 0, 0, 0);
}
