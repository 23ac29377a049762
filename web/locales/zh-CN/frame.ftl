# 控制台文本。键与占位符与 en.ftl 一致，用词见 glossary。

skip = 跳到正文
copy = 复制
copied = 已复制
undo = 撤销
cancel = 取消
filter = 筛选
filter-clear = 清除筛选
list-no-match = 没有匹配的内容。
public = 公开
private = 私有
immutable = 不可变

nav-main = 主导航
nav-crumbs = 当前位置
nav-tabs = 分区
nav-menu = 菜单
nav-home = 首页
nav-projects = 项目
nav-search = 搜索
theme = 主题
theme-system = 跟随系统
theme-light = 浅色
theme-dark = 深色

time-now = 刚刚
time-minutes-ago = { $count } 分钟前
time-hours-ago = { $count } 小时前
time-days-ago = { $count } 天前

pager = 分页
pager-range = 第 { $first }–{ $last } 条，共 { $total } 条
pager-before = 上一页
pager-after = 下一页

column-name = 名称
column-visibility = 可见性
column-repositories = 仓库
column-created = 创建时间
column-updated = 更新时间
column-artifacts = 制品
column-pulls = 拉取次数
column-tag = Tag
column-digest = 摘要
column-size = 大小
column-pushed = 推送时间

login-title = 登录
login-name = 用户名或邮箱
login-password = 密码
login-button = 登录
login-wrong = 用户名或密码错误。
login-throttled = 失败次数过多，请在 { $count } 秒后重试。
logout = 退出登录
banner-first-password = 管理员密码仍是首次启动时生成的密码，请修改。

about-title = 关于
about-what = Hythe 是一个容器镜像仓库平台。
about-version = 版本

search-label = 搜索
search-placeholder = 项目、仓库、Tag、摘要
search-title = 搜索
search-page-label = 名称或其中一部分，或摘要的开头
search-button = 搜索
search-hint = 输入项目、仓库或 Tag 名称的一部分、描述中的文字，或摘要的前六位。
search-nothing = 在你可见的范围内，没有包含“{ $name }”的内容。
search-more = 这里可能没有显示全部结果。请输入更完整的名称以缩小范围。
search-digests = 摘要

home-title = 首页
home-projects = 项目
home-repositories = 仓库
home-storage = 已用存储
home-recent = 最近变更的项目
home-all-projects = 全部 { $count } 个项目
repositories-count = { $count } 个仓库

projects-title = 项目
projects-filter = 筛选项目
projects-empty = 还没有项目。项目用来归类镜像并控制谁可以使用。
project-new-title = 新建项目
project-name = 名称
project-name-hint = 小写字母、数字，以及位于其间的 . _ -。它是每个镜像名称的第一部分，创建后不能修改。
project-public = 公开
project-public-hint = 任何人无需登录即可拉取。
project-create = 创建项目
project-tab-overview = 概览
project-tab-repositories = 仓库
project-empty = “{ $name }”中还没有镜像。在任意装有 Docker 或 Podman 的机器上推送即可。
told-project-created = 已创建项目 { $name }。
push-title = 推送镜像
quota-used = 已用存储
quota-of = 共 { $name }
quota-unlimited = 不限

repositories-title = 仓库
repositories-filter = 筛选仓库
repository-tab-tags = Tag
tags-filter = 筛选 Tag
tags-empty = 没有 Tag。

error-missing-what = 这里没有内容
error-missing-why = 页面不存在，或你无权查看。
error-missing-next = 请检查地址，或使用有权查看的账户登录。
error-signin-what = 请先登录
error-signin-why = 此页面仅供已登录的用户查看。
error-signin-next = 登录后再返回此页面。
error-forbidden-what = 你不能执行此操作
error-forbidden-why = 你的角色不包含此权限。
error-forbidden-next = 请联系项目管理员调整角色。
error-stale-what = 表单已失效
error-stale-why = 它属于另一个会话，或不是由本控制台生成的。没有任何更改。
error-stale-next = 返回并重新加载页面，然后再次提交。
error-refused-what = 操作被拒绝
error-refused-why = 没有任何更改。
error-refused-next = 返回，修改后重试。
error-throttled-what = 请求过多
error-throttled-why = 没有任何更改。
error-throttled-next = 请稍候再试。
error-unavailable-what = 暂时不可用
error-unavailable-why = 数据库或存储没有响应。数据没有丢失。
error-unavailable-next = 请稍候再试。
error-broken-what = 出错了
error-broken-why = 这是服务器的故障，已写入日志。
error-broken-next = 请重试；如果仍然失败，请把下面的编号告诉管理员。
error-request = 请求编号

# 键盘

keys-title = 键盘快捷键
keys-copy = 复制拉取命令或当前行的内容
keys-rows = 下一行、上一行
keys-select = 选中当前行
keys-open = 打开当前行
keys-close = 关闭当前窗口
close = 关闭
