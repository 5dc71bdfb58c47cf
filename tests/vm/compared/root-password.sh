#!/bin/bash
# OpenStack practice: log in as root by password, with a script.
printf 'passw0rd\npassw0rd\n' | passwd root
sed -i 's/^#\?PermitRootLogin.*/PermitRootLogin yes/' /etc/ssh/sshd_config
sed -i 's/^#\?PasswordAuthentication.*/PasswordAuthentication yes/' /etc/ssh/sshd_config
service ssh restart
