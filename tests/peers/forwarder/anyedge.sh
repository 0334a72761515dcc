# A stack of the forwarder benchmark: a POP and a CLB node of anyedge, GRE-in-UDP between them, all in user space.
# Sourced by its bench.sh, which gives $POP, $RG, $VIP, bg, killpids. Wants ANYEDGE (the binary) and ANYEDGE_TOPOLOGY.
DESC="anyedge POP + CLB node"; TGT=$VIP; WL="tcp1 tcp4 udp64 udp512 pp upp crr http"
stack_up(){
  # The CLB node's tunnel address follows from its name; the kernel must know it, and the POP the way to it.
  ip -n $RG addr add $CLB_UNDERLAY/32 dev lo; ip -n $POP route add $CLB_UNDERLAY/32 via 10.2.0.2
  bg stack.pids $POP "$ANYEDGE" node $ANYEDGE_ARGS --topology "$ANYEDGE_TOPOLOGY" --name pop.edge
  bg stack.pids $RG "$ANYEDGE" node $ANYEDGE_ARGS --topology "$ANYEDGE_TOPOLOGY" --name region.lab.clb-1
  local try; for try in $(seq 50); do
    ip -n $RG route replace 10.1.0.0/24 dev tun0 2>/dev/null && ip -n $POP route show $VIP | grep -q tun0 && break; sleep 0.1
  done; sleep 0.5; }
stack_down(){
  ip -n $RG route replace 10.1.0.0/24 via 10.2.0.1; killpids stack.pids
  ip -n $RG addr del $CLB_UNDERLAY/32 dev lo; ip -n $POP route del $CLB_UNDERLAY/32; }
