/// Runs a program and writes down what it cost: CPU seconds (user and system), wall seconds, peak memory.
///
///   measure LIMIT_S OUT PROGRAM [ARGUMENTS..]
///
/// OUT gets `cpu_s=`, `wall_s=` and `rss_kib=`, by the kernel's account of the child, the same for whatever it is. The
/// child is killed after LIMIT_S seconds, and when this program ends. Exit code: the child's, 124 when it was too late, 128
/// and the number of the signal that ended it, 2 when it could not be started.

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>

namespace {

volatile sig_atomic_t g_isLate = 0;
pid_t g_child = 0;

void OnAlarm(int) {
    g_isLate = 1;
    kill(g_child, SIGKILL);
}

double SecondsOf(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

int main(int argc, char** argv) {
    const unsigned limit = argc < 4 ? 0 : static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10));
    if (limit == 0) {
        std::cerr << "usage: measure LIMIT_S OUT PROGRAM [ARGUMENTS..]\n";
        return 2;
    }
    const auto began = std::chrono::steady_clock::now();
    g_child = fork();
    if (g_child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(argv[3], argv + 3);
        std::cerr << "measure: " << argv[3] << " cannot be started\n";
        _exit(2);
    }
    if (g_child < 0) {
        std::cerr << "measure: no process can be made\n";
        return 2;
    }
    struct sigaction action {};
    action.sa_handler = OnAlarm;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    alarm(limit);
    int status = 0;
    rusage usage{};
    if (wait4(g_child, &status, 0, &usage) < 0) {
        std::cerr << "measure: the child cannot be waited for\n";
        return 2;
    }
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - began;
    std::ofstream(argv[2]) << "cpu_s=" << SecondsOf(usage.ru_utime) + SecondsOf(usage.ru_stime)
                           << "\nwall_s=" << wall.count() << "\nrss_kib=" << usage.ru_maxrss << "\n";
    if (g_isLate) {
        return 124;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
